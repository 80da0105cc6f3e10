#!/usr/bin/env bash
# Prometheus's own tool on what deploy ships for it. No server is started.

source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rules=$SERVICES_SOURCE/../../deploy/prometheus-rules.yml

usage() {
  say "usage: prometheus.sh check   whether deploy/prometheus-rules.yml is valid"
  exit 2
}

check() {
  need_quiet_package promtool prometheus
  promtool check rules "$rules"
}

case "${1:-} $#" in
  'check 1') check ;;
  *) usage ;;
esac
