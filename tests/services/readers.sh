#!/usr/bin/env bash
# Other engines that read Delta tables, in a Python environment of their own: deltalake, Polars, DuckDB
# with its delta extension. Installs them the first time; nothing is fetched while they read.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DELTALAKE_VERSION=1.6.6
POLARS_VERSION=2.1.0
DUCKDB_VERSION=1.4.4
DUCKDB_DELTA_VERSION=1.4.4.20260205

usage() {
  say "usage: readers.sh ENGINE TABLE COLUMN...   rows of the folder TABLE as JSON, a row a line, sorted
       ENGINE is deltalake, polars or duckdb"
  exit 2
}

home=$SERVICES_STATE/readers-$DELTALAKE_VERSION-$POLARS_VERSION-$DUCKDB_DELTA_VERSION

need_readers() {
  [ -f "$home/complete" ] || locked install install_readers
}

install_readers() {
  if [ -f "$home/complete" ]; then return; fi # done by the caller that held the lock before us
  command -v python3 >/dev/null || install_package python3 python3-venv
  local log=$SERVICES_STATE/log/install-readers.log
  say "installing deltalake $DELTALAKE_VERSION, Polars $POLARS_VERSION, DuckDB $DUCKDB_VERSION"
  rm -rf "$home"
  python3 -m venv "$home" >"$log" 2>&1 9>&- ||
    fail_with_log "$log" "a Python environment could not be made"
  "$home/bin/pip" install -q "deltalake==$DELTALAKE_VERSION" "polars==$POLARS_VERSION" \
    "duckdb==$DUCKDB_VERSION" "duckdb-ext-delta==$DUCKDB_DELTA_VERSION" >"$log" 2>&1 9>&- ||
    fail_with_log "$log" "the readers could not be installed"
  touch "$home/complete" # last, so that a folder is either complete or not used
}

[ $# -ge 3 ] || usage
need_readers
exec "$home/bin/python" "$SERVICES_SOURCE/readers.py" "$@"
