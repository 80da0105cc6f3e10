#!/usr/bin/env bash
# PostgreSQL 15 on 127.0.0.1:15432 with logical decoding. User postgres, no password.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binaries=/usr/lib/postgresql/15/bin
# Run by root, the server runs as user postgres, who cannot enter /root: hence not the state folder.
home=${WEIR_PG_DIR:-/var/tmp/weir-services/pg}
data=$home/data
log=$home/postgres.log

usage() {
  say "usage: postgres.sh start | stop | restart | kill | status
       postgres.sh load DATABASE FILE.sql    creates the database when it is missing
       postgres.sh psql [ARGUMENT...]"
  exit 2
}

as_server_user() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec runuser -u postgres -- "$@") 9>&-
  else
    "$@" 9>&-
  fi
}

client() {
  PGCONNECT_TIMEOUT=5 PGOPTIONS='-c client_min_messages=warning' \
    psql -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres -v ON_ERROR_STOP=1 "$@"
}

install_postgres() {
  [ -x "$binaries/postgres" ] && return
  if [ "$(id -u)" = 0 ]; then # no packaged server of its own beside ours
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/weir.conf
  fi
  need_package "$binaries/postgres" postgresql-15
}

create_cluster() {
  local step=$SERVICES_STATE/log/postgres-initdb.log
  say "postgres: creating $data"
  mkdir -p "$home"
  if [ "$(id -u)" = 0 ]; then chown postgres "$home"; fi
  as_server_user "$binaries/initdb" -D "$data" -A trust -U postgres -E UTF8 --locale=C.UTF-8 \
    >"$step" 2>&1 || fail_with_log "$step" "the cluster could not be created"
}

# Prints the process id of the server in our data folder; fails when it is not running.
server_pid() {
  local pid
  pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 1
  grep -qzxF -e "$data" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}

start() {
  if ! server_pid >/dev/null; then
    install_postgres
    need_free_port postgres "$POSTGRES_PORT"
    [ -f "$data/PG_VERSION" ] || create_cluster
    as_server_user "$binaries/pg_ctl" -D "$data" -l "$log" -w -t 60 start -o "-p $POSTGRES_PORT \
      -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c wal_level=logical \
      -c max_replication_slots=20 -c max_wal_senders=20" >/dev/null ||
      fail_with_log "$log" "postgres did not start"
  fi
  client -d postgres -qc 'select 1' >/dev/null || fail_with_log "$log" "postgres does not answer"
  say "postgres: ready, pid $(server_pid)"
}

stop() {
  if server_pid >/dev/null; then
    # fast: open sessions are ended, replication of what is written completes
    as_server_user "$binaries/pg_ctl" -D "$data" -m fast -w -t 60 stop >/dev/null ||
      fail_with_log "$log" "postgres did not stop"
    say "postgres: stopped"
  else
    say "postgres: not running"
  fi
}

# A crash: the server and its sessions, which are its child processes, get SIGKILL.
crash() {
  local pid children process
  pid=$(server_pid) || { say "postgres: not running"; return; }
  read -ra children <"/proc/$pid/task/$pid/children" || true # one line without an end
  kill -KILL "$pid"
  for process in "${children[@]}"; do kill -KILL "$process" 2>/dev/null || true; done
  for process in "$pid" "${children[@]}"; do
    wait_ended "$process" 10 || fail "postgres: pid $process does not end"
  done
  rm -f "$data/postmaster.pid" # would count as held for as long as the server is a zombie
  say "postgres: stopped with SIGKILL"
}

restart() {
  stop
  start
}

status() {
  local pid
  pid=$(server_pid) || { say "postgres: stopped"; return 3; }
  say "postgres: running, pid $pid"
}

load() { # load DATABASE FILE
  local present
  present=$(client -d postgres -Atc "select 1 from pg_database where datname = '$1'")
  if [ -z "$present" ]; then client -d postgres -qc "create database \"$1\""; fi
  client -d "$1" -q -f "$2" >&2
  say "database $1: loaded $2"
}

case "${1:-} $#" in
  'start 1') locked postgres start ;;
  'stop 1') locked postgres stop ;;
  'restart 1') locked postgres restart ;;
  'kill 1') locked postgres crash ;;
  'status 1') status ;;
  'load 3') locked postgres load "$2" "$3" ;;
  'psql '*) client "${@:2}" ;;
  *) usage ;;
esac
