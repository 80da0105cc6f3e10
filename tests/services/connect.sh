#!/usr/bin/env bash
# Kafka Connect in standalone mode with Debezium for PostgreSQL or MariaDB: one worker process per
# connector.
# A worker's offsets survive stop and kill; start and restart resume from them.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

home=$SERVICES_STATE/connect
jars=$home/jars
plugins=$home/plugins
workers=$home/workers

usage() {
  say "usage: connect.sh start NAME PORT CONNECTOR.json
       connect.sh stop | restart | kill | status | forget NAME
       connect.sh render TEMPLATE [PLACEHOLDER=VALUE...]   writes a connector to standard output
       connect.sh names
       forget stops the worker and drops its offsets, replication slot and publication"
  exit 2
}

install_connect() { # install_connect NAME
  need_package curl curl
  need_package java openjdk-17-jre-headless
  need_jars "$jars" "org.apache.kafka:connect-runtime:$KAFKA_VERSION" \
    "org.apache.kafka:connect-json:$KAFKA_VERSION" "${LOG4J_JARS[@]}"
  if is_mariadb "$1"; then
    need_jars "$plugins/debezium-mariadb" \
      "io.debezium:debezium-connector-mariadb:$DEBEZIUM_MARIADB_VERSION"
  else
    need_jars "$plugins/debezium-postgres" \
      "io.debezium:debezium-connector-postgres:$DEBEZIUM_VERSION"
  fi
}

is_mariadb() { grep -q MariaDbConnector "$workers/$1/connector.json"; } # is_mariadb NAME

write_worker_settings() { # write_worker_settings NAME PORT
  cat <<SETTINGS
bootstrap.servers=$KAFKA_BOOTSTRAP
listeners=http://127.0.0.1:$2
plugin.path=$plugins
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename=$workers/$1/offsets
offset.flush.interval.ms=1000
SETTINGS
}

# Prints one setting of a saved connector.
connector_setting() { # connector_setting NAME KEY
  sed -n "s/.*\"${2//./\\.}\" *: *\"\([^\"]*\)\".*/\1/p" "$workers/$1/connector.json"
}

task_runs() { # task_runs NAME PORT
  local answer
  answer=$(curl -sf --max-time 2 "http://127.0.0.1:$2/connectors/$1/status") || return 1
  case $answer in
    *'"tasks":[{"id":0,"state":"RUNNING"'*) return 0 ;;
    *'"tasks":[{"id":0,"state":"FAILED"'*) return 2 ;; # for good: only a restart helps
    *) return 1 ;;
  esac
}

# The saved port and connector are what restart uses.
start() { # start NAME PORT FILE
  local name=$1 port=$2 file=$3
  grep -q "\"name\" *: *\"$name\"" "$file" || fail "$file does not hold a connector named $name"
  mkdir -p "$workers/$name"
  if service_pid "connect-$name" >/dev/null && ! same_start "$@"; then
    say "connect-$name: runs with other settings, starting it again"
    stop_service "connect-$name"
  fi
  cp "$file" "$workers/$name/connector.json"
  echo "$port" >"$workers/$name/port"
  start_saved "$name"
}

same_start() { # same_start NAME PORT FILE
  [ "$(cat "$workers/$1/port")" = "$2" ] && cmp -s "$workers/$1/connector.json" "$3"
}

start_saved() { # start_saved NAME
  local name=$1 port
  [ -f "$workers/$name/port" ] || fail "connect-$name: never started, or forgotten"
  port=$(cat "$workers/$name/port")
  if ! service_pid "connect-$name" >/dev/null; then
    install_connect "$name"
    need_free_port "connect-$name" "$port"
    write_worker_settings "$name" "$port" >"$workers/$name/worker.properties"
    launch "connect-$name" -Xms128m -Xmx768m -cp "$jars/*" \
      org.apache.kafka.connect.cli.ConnectStandalone \
      "$workers/$name/worker.properties" "$workers/$name/connector.json"
  fi
  wait_ready "connect-$name" 300 task_runs "$name" "$port"
}

restart() { # restart NAME
  stop_service "connect-$1"
  start_saved "$1"
}

# A slot that nobody reads makes the server keep its log for ever: it goes with the offsets.
forget() { # forget NAME
  local name=$1
  stop_service "connect-$name"
  [ -f "$workers/$name/connector.json" ] || return 0
  if ! is_mariadb "$name" && "$SERVICES_SOURCE/postgres.sh" status 2>/dev/null; then
    drop_slot "$name" || say "connect-$name: slot and publication were not dropped"
  fi
  rm -rf "${workers:?}/$name"
  say "connect-$name: forgotten"
}

drop_slot() { # drop_slot NAME
  "$SERVICES_SOURCE/postgres.sh" psql -q -d "$(connector_setting "$1" database.dbname)" \
    -v slot="$(connector_setting "$1" slot.name)" \
    -v publication="$(connector_setting "$1" publication.name)" >/dev/null <<'SQL'
-- After SIGKILL of the worker its session may live a moment longer: end it and wait, up to 10 s.
select pg_terminate_backend(active_pid, 10000) from pg_replication_slots
  where slot_name = :'slot' and active_pid is not null;
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = :'slot';
drop publication if exists :"publication";
SQL
}

# Fills the @PLACEHOLDERS@ of connectors/TEMPLATE.json.
render() { # render TEMPLATE [PLACEHOLDER=VALUE...]
  local template=$SERVICES_SOURCE/connectors/$1.json text key
  local -A values=([NAME]=$1 [PREFIX]=$1 [SNAPSHOT]=initial [DECIMALS]=string [TIMES]=adaptive
    [SCHEMAS]=false [DATABASE]=shop)
  [ -f "$template" ] || fail "there is no template $template"
  text=$(cat "$template")
  shift
  for key in "$@"; do
    [[ $key == *=* && $text == *"@${key%%=*}@"* ]] || fail "$template has no placeholder for $key"
    values[${key%%=*}]=${key#*=}
  done
  key=weir_${values[NAME]//-/_} # a slot's name takes no dash
  values[SLOT]=${values[SLOT]:-$key}
  values[PUBLICATION]=${values[PUBLICATION]:-$key}
  values[HISTORY]=$workers/${values[NAME]}/history # of the schema: MariaDB's log has none
  for key in "${!values[@]}"; do text=${text//"@$key@"/"${values[$key]}"}; done
  printf '%s\n' "$text"
}

names() {
  local folder
  for folder in "$workers"/*/connector.json; do
    if [ -f "$folder" ]; then basename "$(dirname "$folder")"; fi
  done
}

case "${1:-} $#" in
  'start 4') locked "connect-$2" start "$2" "$3" "$4" ;;
  'stop 2') locked "connect-$2" stop_service "connect-$2" ;;
  'restart 2') locked "connect-$2" restart "$2" ;;
  'kill 2') locked "connect-$2" stop_service "connect-$2" KILL ;;
  'status 2') report_status "connect-$2" ;;
  'forget 2') locked "connect-$2" forget "$2" ;;
  'names 1') names ;;
  render\ [2-9]*) render "${@:2}" ;;
  *) usage ;;
esac
