#!/usr/bin/env bash
# Installs Chromium for the tests of the page, where it is missing. Tests start it themselves.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib.sh"

need_package chromium chromium
