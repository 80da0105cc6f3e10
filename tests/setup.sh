#!/usr/bin/env bash
# Installs what building Weir needs and a bare Debian machine lacks: a C compiler and make (for
# librdkafka, zstd and aws-lc), and Rust with clippy and rustfmt. Does nothing where they are; may be
# called again.

set -euo pipefail

packages=()
command -v cc >/dev/null && command -v g++ >/dev/null && command -v make >/dev/null ||
  packages+=(build-essential)
command -v cargo >/dev/null || command -v curl >/dev/null || packages+=(curl ca-certificates)

if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "error: install these first, or run this as root: ${packages[*]}" >&2
    exit 1
  fi
  echo "installing ${packages[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >&2
  apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}" >&2
fi

if ! command -v cargo >/dev/null && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
  # rust-toolchain.toml says which version; rustup fetches that one when rustc first runs.
  echo "installing Rust with rustup" >&2
  curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs |
    sh -s -- -y --profile default --default-toolchain none --no-modify-path >&2
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$HOME/.cargo/bin:$PATH"
if [ ! -x "$(rustc --print sysroot)/bin/clippy-driver" ]; then
  rustup component add clippy rustfmt >&2
fi
