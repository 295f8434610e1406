#!/usr/bin/env bash
# Installs, in the build stage of an image, what builds the programs (the list of tests/setup.sh) and what the image itself
# takes from Debian beside libraries; first brings what the base image holds up to Debian's security updates.
#   tests/image/packages.sh            install
#   tests/image/packages.sh --list     only print the names, one a line
set -euo pipefail
# shellcheck source=tests/setup.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/setup.sh"

packages_build+='ca-certificates|authorities of public gateways and of Azure
'

if [ "${1:-}" = --list ]; then
  sed -n 's/|.*//p' <<<"$packages_build"
  exit
fi
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get upgrade -y -qq >/dev/null
need build
