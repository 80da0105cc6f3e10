#!/usr/bin/env bash
# Commits to a lake 20,000 times, or as often as told, and prints how files, log, memory and opening went.
#   tests/soak.sh [FLUSHES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WEIR_SOAK_FLUSHES=${1:-20000}
exec cargo test --release --locked -p weir --test it -- --nocapture many_flushes_leave_a_small_lake
