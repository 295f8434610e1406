#!/usr/bin/env bash
# Installs what the build, the demo and the tests need on Debian 12, and says what and why. Sourced by demo.sh and run.sh:
#   need build | demo | tests      installs what is missing of that set
# Everything comes from Debian's packages, plus npm packages for the tests (see tests/npm). Nothing is started.

# package | why
packages_build='
cmake|build system
ninja-build|build system
g++|compiler
ccache|reuses compiled files
pkg-config|finds libraries without a CMake file
libgrpc-dev|gRPC core: agents, operators
libgrpc++-dev|gRPC for C++
protobuf-compiler|compiles proto/
protobuf-compiler-grpc|generates the gRPC stubs
libprotobuf-dev|Protocol Buffers
libabsl-dev|status, time and strings
libcurl4-openssl-dev|HTTP: probes and Azure
libssl-dev|TLS, X.509 and digests
libc-ares-dev|name resolution of probes
libre2-dev|regular expressions from the configuration
libyaml-cpp-dev|configuration files
nlohmann-json3-dev|JSON of Azure
libpugixml-dev|XML of Azure storage
libcpp-httplib-dev|HTTP server of /metrics
prometheus-cpp-dev|metrics
libgtest-dev|tests and the embedded emulator
libgmock-dev|tests
'
packages_demo='
openssl|certificates of the demo
jq|reads failoverctl -o json
curl|breaks things through the emulator
'
packages_tests='
clang|compiler of the tidy preset
clang-format|format check
clang-tidy|lint of changed files
nginx-light|a real gateway in the probing test
prometheus|a real scraper, and promtool
prometheus-alertmanager|is told of the alerts in the tests of the rules
nodejs|runs Azurite and the SDK of Azure
npm|installs them
python3|lint of include layers; tests of the charts
python3-yaml|tests of the charts
yamllint|tests of the charts
git|lint of changed files
'

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts some services when their package is installed; here nothing may start.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod +x "$policy" && made=1
  fi
  local log status=0
  log=$(mktemp)
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 || status=$?
  [ -z "$made" ] || as_root rm -f "$policy"
  [ "$status" = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return "$status"
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

need() {
  local set=$1 list missing=() package why
  case $set in
    build) list=$packages_build ;;
    demo) list=$packages_demo ;;
    tests) list=$packages_tests ;;
    *) echo "setup.sh: found set \"$set\"; allowed: build, demo, tests" >&2; return 2 ;;
  esac
  while IFS='|' read -r package why; do
    [ -n "$package" ] || continue
    # A tool that is there already, from elsewhere, is good enough.
    case $package in
      cmake | g++ | ccache | openssl | jq | curl | git | python3 | clang | clang-format | clang-tidy | npm)
        command -v "$package" >/dev/null && continue ;;
      ninja-build) command -v ninja >/dev/null && continue ;;
      nodejs) command -v node >/dev/null && continue ;;
      protobuf-compiler) command -v protoc >/dev/null && continue ;;
    esac
    installed "$package" && continue
    echo "installing $package: $why"
    missing+=("$package")
  done <<<"$list"
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "setup.sh: these packages are missing, and installing them needs root or sudo: ${missing[*]}" >&2
    return 1
  fi
  as_root apt-get update -qq || return 1
  install_quietly "${missing[@]}"
}
