#!/usr/bin/env bash
# Stops the services named, or all: down.sh [kafka] [secure-kafka] [postgres] [mariadb]
# [connect]. Data stays.
# connect stands for every Connect worker.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

stop_connectors() {
  local name
  for name in $("$here/connect.sh" names); do "$here/connect.sh" stop "$name"; done
}

[ $# -gt 0 ] || set -- connect kafka secure-kafka postgres mariadb
for service in "$@"; do
  case $service in
    kafka | secure-kafka | postgres | mariadb) "$here/$service.sh" stop ;;
    connect) stop_connectors ;;
    *) fail "unknown service $service; usage: down.sh [kafka] [secure-kafka] [postgres] [mariadb] [connect]" ;;
  esac
done
