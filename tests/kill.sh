#!/usr/bin/env bash
# Kills Weir while it reads Kafka, 200 times or as often as told, and has the oracle judge the lake.
#   tests/kill.sh [KILLS] [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WEIR_KILLS=${1:-200}
if [ -n "${2:-}" ]; then export WEIR_SEED=$2; fi
exec cargo test --release --locked -p weir --test it -- --nocapture \
  kill_at_random_instants_loses_nothing_and_doubles_nothing
