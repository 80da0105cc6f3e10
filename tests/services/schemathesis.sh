#!/usr/bin/env bash
# Tests the HTTP API against its own description with generated requests.
# Installs Schemathesis into a folder of its own the first time.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SCHEMATHESIS_VERSION=4.32.5

usage() {
  say "usage: schemathesis.sh URL TOKEN [SECONDS]   a running server and a token that sees all
       schemathesis.sh serve [SECONDS]         a small server of its own, built from this tree"
  exit 2
}

home=$SERVICES_STATE/schemathesis-$SCHEMATHESIS_VERSION

need_schemathesis() {
  [ -f "$home/complete" ] || locked install install_schemathesis
}

install_schemathesis() {
  if [ -f "$home/complete" ]; then return; fi # done by the caller that held the lock before us
  command -v python3 >/dev/null || install_package python3 python3-venv
  local log=$SERVICES_STATE/log/install-schemathesis.log
  say "installing schemathesis $SCHEMATHESIS_VERSION"
  rm -rf "$home"
  python3 -m venv "$home" >"$log" 2>&1 9>&- ||
    fail_with_log "$log" "a Python environment could not be made"
  pip_install "schemathesis==$SCHEMATHESIS_VERSION" >"$log" 2>&1 ||
    pip_install schemathesis >"$log" 2>&1 ||
    fail_with_log "$log" "schemathesis could not be installed"
  touch "$home/complete" # last, so that a folder is either complete or not used
}

pip_install() {
  "$home/bin/pip" install -q "$1" 9>&-
}

run_checks() { # run_checks URL TOKEN SECONDS
  # A decision shows in the epoch that reads it: what was made is there some milliseconds later, not at once.
  NO_PROXY=127.0.0.1,localhost "$home/bin/schemathesis" \
    --config-file "$SERVICES_SOURCE/schemathesis.toml" run "$1/api/v1/openapi.json" --url "$1" \
    -H "Authorization: Bearer $2" --checks all --exclude-checks ensure_resource_availability --max-time "$3" --seed "${SEED:-1}"
}

serve_and_run() { # serve_and_run SECONDS
  local root state url token status=0
  root=$(cd "$SERVICES_SOURCE/../.." && pwd)
  state=$(mktemp -d)
  trap 'rm -rf "$state"' EXIT # the server ends when its file is gone
  (cd "$root" && cargo test --release -p api -p weir --test http --no-run) ||
    fail "the server could not be built"
  (cd "$root" && WEIR_TEST_SERVE=$state/server \
    cargo test --release -p api -p weir --test http serve >"$state/log" 2>&1) &
  for _ in $(seq 600); do
    [ -f "$state/server" ] && break
    sleep 0.1
  done
  [ -f "$state/server" ] || fail_with_log "$state/log" "the server did not start"
  { read -r url && read -r token; } <"$state/server"
  run_checks "$url" "$token" "$1" || status=$?
  rm -f "$state/server"
  wait
  return "$status"
}

case ${1:-} in
  http://* | https://*)
    [ $# -ge 2 ] || usage
    need_schemathesis
    run_checks "$1" "$2" "${3:-60}"
    ;;
  serve)
    need_schemathesis
    serve_and_run "${2:-60}"
    ;;
  *) usage ;;
esac
