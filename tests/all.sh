#!/usr/bin/env bash
# All tests: format, lints, unit and integration tests with real Kafkas and databases, and that
# tests and product are one build. Installs what is missing, stops what it started.
#
#   WEIR_TARGET_DIR    where the build goes, ~/.cache/weir-target unless set
#   WEIR_TEST_TIMEOUT  the most seconds that one step may take, 5400 unless set (a first build of all
#                      dependencies takes half an hour on two cores)

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$HOME/.cargo/bin:$PATH"
export CARGO_TARGET_DIR="${WEIR_TARGET_DIR:-$HOME/.cache/weir-target}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
limit="${WEIR_TEST_TIMEOUT:-5400}"
times=()
started=()

step() { # step NAME COMMAND...
  local name=$1 begin=$SECONDS result=0
  shift
  echo "=== $name" >&2
  timeout --kill-after=30 "$limit" "$@" || result=$?
  if [ "$result" = 124 ]; then echo "error: $name took more than $limit s" >&2; fi
  times+=("$(printf '%5d s  %s' $((SECONDS - begin)) "$name")")
  return "$result"
}

finish() {
  local result=$?
  trap - EXIT
  # Tests start Debezium's workers themselves; without Kafka none of them is of use.
  case " ${started[*]-} " in *" kafka "*) started=(connect secure-kafka mariadb "${started[@]}") ;; esac
  if [ ${#started[@]} -gt 0 ]; then tests/services/down.sh "${started[@]}" || true; fi
  echo "=== time per step" >&2
  if [ ${#times[@]} -gt 0 ]; then printf '%s\n' "${times[@]}" >&2; fi
  if [ "$result" = 0 ]; then echo "all tests passed" >&2; else echo "FAILED" >&2; fi
  exit "$result"
}
trap finish EXIT
trap 'exit 130' INT TERM

# The tests ran what `cargo build` ships: nothing may be left to compile.
one_build() {
  local output
  output=$(cargo build --release --locked --bin weir 2>&1) || { echo "$output" >&2; return 1; }
  echo "$output" >&2
  if grep -q '^ *Compiling ' <<<"$output"; then
    echo "error: the tests ran a build that differs from this one; a member of the workspace" \
      "turns on a feature that the binary does not have" >&2
    return 1
  fi
}

services() {
  local service
  for service in kafka postgres; do
    tests/services/$service.sh status 2>/dev/null || started+=("$service")
  done
  step "services" tests/services/up.sh kafka postgres
}

# Cargo tells old from new by the time of a file, and calls packages of two clones the same. So a
# folder of builds that another clone used last holds nothing newer than what is here.
own_build() {
  local stamp="$CARGO_TARGET_DIR/clone"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$PWD" ]; then
    git ls-files -z | xargs -0 touch --no-create
    mkdir -p "$CARGO_TARGET_DIR"
    echo "$PWD" >"$stamp"
  fi
}

export -f one_build
own_build
step "set-up" tests/setup.sh
# The compiler of all steps is that of the lints: what Cargo builds with another one it keeps apart, and
# builds again.
RUSTC_WORKSPACE_WRAPPER="$(rustc --print sysroot)/bin/clippy-driver"
export RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__"
step "format and lints" ./dev check
services
# Built here, so that no test waits for it.
step "planted defects, build" cargo build --release --locked --features defects \
  --bin weir-defective
step "tests" cargo test --release --locked --workspace --no-fail-fast
# A property test that misses a planted defect proves nothing.
step "planted defects" cargo test --release --locked -p gold -p weir \
  --features gold/defects,weir/defects --test stream
step "one build" bash -euo pipefail -c one_build
