#!/usr/bin/env bash
# Kills Weir while it tells a receiver of alerts that hangs, closes connections and answers 429 and 500 in turns, 200
# times or as often as told: each alert must arrive, in order, and none twice but under its id.
#   tests/kill-delivery.sh [KILLS] [SEED]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export WEIR_KILLS=${1:-200}
if [ -n "${2:-}" ]; then export WEIR_SEED=$2; fi
exec cargo test --release --locked -p weir --test it -- --nocapture \
  kills_lose_no_alert_and_double_none_beyond_its_id
