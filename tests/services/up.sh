#!/usr/bin/env bash
# Starts the services named, or connect: up.sh [kafka] [secure-kafka] [postgres] [mariadb] [connect]
# connect is the connector `shop` on port 18083; it brings the other two and the database with it.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

start_shop_connector() {
  "$here/kafka.sh" start
  "$here/postgres.sh" start
  "$here/postgres.sh" load shop "$here/sql/shop.sql"
  "$here/connect.sh" render shop >"$SERVICES_STATE/shop.json"
  "$here/connect.sh" start shop 18083 "$SERVICES_STATE/shop.json"
}

[ $# -gt 0 ] || set -- connect
for service in "$@"; do
  case $service in
    kafka | secure-kafka | postgres | mariadb) "$here/$service.sh" start ;;
    connect) start_shop_connector ;;
    *) fail "unknown service $service; usage: up.sh [kafka] [secure-kafka] [postgres] [mariadb] [connect]" ;;
  esac
done
