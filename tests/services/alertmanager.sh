#!/usr/bin/env bash
# Alertmanager on this machine, as deploy/alertmanager.yml says: NAME's own server on a loopback port, which tells a
# webhook.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

example=$SERVICES_SOURCE/../../deploy/alertmanager.yml

usage() {
  say "usage: alertmanager.sh start NAME PORT WEBHOOK_URL   listens on 127.0.0.1:PORT, tells WEBHOOK_URL
       alertmanager.sh stop NAME | status NAME
       alertmanager.sh check                        whether deploy/alertmanager.yml is valid"
  exit 2
}

folder() { echo "$SERVICES_STATE/alertmanager-$1"; }

# Prints the process id of NAME's server; fails when it is not running.
alertmanager_pid() { # alertmanager_pid NAME
  local pid
  pid=$(cat "$(folder "$1")/pid" 2>/dev/null) || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -e "$(folder "$1")/" || return 1
  echo "$pid"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() { # start NAME PORT WEBHOOK_URL
  local home pid
  home=$(folder "$1")
  need_quiet_package prometheus-alertmanager prometheus-alertmanager
  if alertmanager_pid "$1" >/dev/null; then stop "$1"; fi
  rm -rf "$home"
  mkdir -p "$home/data"
  sed -e "s|http://127\.0\.0\.1:5001/|$3|" "$example" >"$home/alertmanager.yml"
  need_free_port alertmanager "$2"
  setsid prometheus-alertmanager --config.file="$home/alertmanager.yml" --storage.path="$home/data" \
    --web.listen-address="127.0.0.1:$2" --web.external-url="http://127.0.0.1:$2" \
    --cluster.listen-address= >"$home/log" 2>&1 </dev/null 9>&- &
  pid=$!
  echo "$pid" >"$home/pid"
  local begin=$SECONDS
  until answers "$2"; do
    if ended "$pid"; then fail_with_log "$home/log" "Alertmanager ended while starting"; fi
    [ $((SECONDS - begin)) -lt 60 ] || fail_with_log "$home/log" "Alertmanager was not ready after 60 s"
    sleep 0.1
  done
  say "alertmanager: ready, pid $pid"
}

stop() { # stop NAME
  local pid
  if pid=$(alertmanager_pid "$1"); then
    kill -TERM "$pid"
    wait_ended "$pid" 20 || fail "alertmanager: pid $pid does not end"
    say "alertmanager: stopped"
  else
    say "alertmanager: not running"
  fi
}

status() { # status NAME
  local pid
  pid=$(alertmanager_pid "$1") || { say "alertmanager: stopped"; return 3; }
  say "alertmanager: running, pid $pid"
}

check() {
  need_quiet_package amtool prometheus-alertmanager
  amtool check-config "$example"
}

case "${1:-} $#" in
  'start 4') locked alertmanager start "$2" "$3" "$4" ;;
  'stop 2') locked alertmanager stop "$2" ;;
  'status 2') status "$2" ;;
  'check 1') check ;;
  *) usage ;;
esac
