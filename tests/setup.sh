#!/usr/bin/env bash
# Installs what building Weir needs besides Rust and a bare Debian machine lacks: a C compiler and make
# (for librdkafka and zstd), OpenSSL and curl (for TLS and tokens of Kafka), clippy and rustfmt. Does nothing
# where they are; may be called again.

set -euo pipefail

packages=()
command -v cc >/dev/null && command -v g++ >/dev/null && command -v make >/dev/null ||
  packages+=(build-essential)
command -v pkg-config >/dev/null || packages+=(pkg-config)
pkg-config --exists openssl 2>/dev/null || packages+=(libssl-dev)
pkg-config --exists libcurl 2>/dev/null || packages+=(libcurl4-openssl-dev)

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
  echo "error: install Rust with rustup first; rust-toolchain.toml says which version is used" >&2
  exit 1
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$HOME/.cargo/bin:$PATH"
if [ ! -x "$(rustc --print sysroot)/bin/clippy-driver" ]; then
  rustup component add clippy rustfmt >&2
fi
