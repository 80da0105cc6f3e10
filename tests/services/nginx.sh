#!/usr/bin/env bash
# nginx before a Weir on this machine, as deploy/nginx.conf says: NAME's own server on a loopback port.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

example=$SERVICES_SOURCE/../../deploy/nginx.conf

usage() {
  say "usage: nginx.sh start NAME PORT UPSTREAM_PORT   listens on 127.0.0.1:PORT, asks 127.0.0.1:UPSTREAM_PORT
       nginx.sh stop NAME | status NAME"
  exit 2
}

folder() { echo "$SERVICES_STATE/nginx-$1"; }

# Prints the process id of NAME's server; fails when it is not running.
nginx_pid() { # nginx_pid NAME
  local pid
  pid=$(cat "$(folder "$1")/nginx.pid" 2>/dev/null) || return 1
  tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -e "$(folder "$1")" || return 1
  echo "$pid"
}

configuration() { # configuration NAME PORT UPSTREAM_PORT
  local home
  home=$(folder "$1")
  echo "worker_processes 1; pid $home/nginx.pid; error_log $home/error.log warn;"
  [ "$(id -u)" != 0 ] || echo 'user root;'
  echo "events { worker_connections 256; }"
  echo "http { access_log off; client_body_temp_path $home/body; proxy_temp_path $home/proxy;"
  echo "fastcgi_temp_path $home/fastcgi; uwsgi_temp_path $home/uwsgi; scgi_temp_path $home/scgi;"
  sed -e "s/127\.0\.0\.1:8081/127.0.0.1:$2/" -e "s/127\.0\.0\.1:8080/127.0.0.1:$3/" "$example"
  echo "}"
}

start() { # start NAME PORT UPSTREAM_PORT
  local home pid
  home=$(folder "$1")
  need_quiet_package nginx nginx-light
  mkdir -p "$home"
  configuration "$@" >"$home/nginx.conf"
  if pid=$(nginx_pid "$1"); then
    stop "$1"
  fi
  need_free_port nginx "$2"
  nginx -p "$home" -c "$home/nginx.conf" 9>&- || fail_with_log "$home/error.log" "nginx did not start"
  until pid=$(nginx_pid "$1"); do sleep 0.05; done
  say "nginx: ready, pid $pid"
}

stop() { # stop NAME
  local pid
  if pid=$(nginx_pid "$1"); then
    kill -TERM "$pid"
    wait_ended "$pid" 10 || fail "nginx: pid $pid does not end"
    say "nginx: stopped"
  else
    say "nginx: not running"
  fi
}

status() { # status NAME
  local pid
  pid=$(nginx_pid "$1") || { say "nginx: stopped"; return 3; }
  say "nginx: running, pid $pid"
}

case "${1:-} $#" in
  'start 4') locked nginx start "$2" "$3" "$4" ;;
  'stop 2') locked nginx stop "$2" ;;
  'status 2') status "$2" ;;
  *) usage ;;
esac
