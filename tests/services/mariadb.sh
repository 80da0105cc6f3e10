#!/usr/bin/env bash
# MariaDB on 127.0.0.1:13306 with a row binlog. Root by the socket, without a password; the connector
# logs in as dbz, password dbz.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Run by root, the server runs as user mysql, who cannot enter /root: hence not the state folder.
home=${WEIR_MARIADB_DIR:-/var/tmp/weir-services/mariadb}
data=$home/data
socket=$home/socket
log=$home/mariadb.log

usage() {
  say "usage: mariadb.sh start | stop | restart | kill | status
       mariadb.sh sql FILE.sql    prints rows, columns parted by tabs"
  exit 2
}

client() { mariadb --no-defaults --connect-timeout=5 -S "$socket" -u root --default-character-set=utf8mb4 "$@"; }

create_server() {
  local step=$SERVICES_STATE/log/mariadb-install-db.log
  say "mariadb: creating $data"
  rm -rf "${data:?}"
  mkdir -p "$data"
  if [ "$(id -u)" = 0 ]; then chown mysql "$home" "$data"; fi
  # The root of this server has neither password nor a user of the system: it listens to its socket.
  mariadb-install-db --no-defaults --user="$(owner)" --datadir="$data" --skip-test-db \
    --auth-root-authentication-method=normal >"$step" 2>&1 ||
    fail_with_log "$step" "the server could not be created"
  touch "$data/created"
}

owner() { if [ "$(id -u)" = 0 ]; then echo mysql; else id -un; fi; }

# Prints the process id of the server in our data folder; fails when it is not running.
server_pid() {
  local pid
  pid=$(cat "$home/pid" 2>/dev/null) || return 1
  grep -qzxF -e "--datadir=$data" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}

start() {
  if ! server_pid >/dev/null; then
    need_quiet_package mariadbd mariadb-server
    need_free_port mariadb "$MARIADB_PORT"
    mkdir -p "$home"
    [ -f "$data/created" ] || create_server
    setsid mariadbd --no-defaults --user="$(owner)" --datadir="$data" --socket="$socket" \
      --pid-file="$home/pid.server" --bind-address=127.0.0.1 --port="$MARIADB_PORT" --server-id=1 \
      --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL \
      --skip-name-resolve --innodb-buffer-pool-size=64M --character-set-server=utf8mb4 \
      >"$log" 2>&1 </dev/null 9>&- &
    echo $! >"$home/pid"
  fi
  wait_answers
  client -e "CREATE OR REPLACE USER 'dbz'@'127.0.0.1' IDENTIFIED BY 'dbz';
    GRANT SELECT, RELOAD, SHOW DATABASES, LOCK TABLES, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR
      ON *.* TO 'dbz'@'127.0.0.1'" || fail_with_log "$log" "the connector's user could not be made"
  say "mariadb: ready, pid $(server_pid)"
}

wait_answers() {
  local begin=$SECONDS
  until client -e 'SELECT 1' >/dev/null 2>&1; do
    if ended "$(cat "$home/pid")"; then fail_with_log "$log" "mariadb ended while starting"; fi
    [ $((SECONDS - begin)) -lt 60 ] || fail_with_log "$log" "mariadb does not answer"
    sleep 0.2
  done
}

stop() { # stop [SIGNAL]
  local signal=${1:-TERM} pid
  if pid=$(server_pid); then
    kill "-$signal" "$pid" || true
    wait_ended "$pid" 60 || fail "mariadb: pid $pid does not end"
    say "mariadb: stopped with SIG$signal"
  else
    say "mariadb: not running"
  fi
  rm -f "$home/pid"
}

restart() {
  stop
  start
}

status() {
  local pid
  pid=$(server_pid) || { say "mariadb: stopped"; return 3; }
  say "mariadb: running, pid $pid"
}

case "${1:-} $#" in
  'start 1') locked mariadb start ;;
  'stop 1') locked mariadb stop ;;
  'restart 1') locked mariadb restart ;;
  'kill 1') locked mariadb stop KILL ;;
  'status 1') status ;;
  'sql 2') client -N --batch --raw <"$2" ;;
  *) usage ;;
esac
