#!/usr/bin/env bash
# build PRESET [TARGET...]: configures and builds in build/PRESET. Sourced by demo.sh and run.sh.
build() {
  local preset=$1
  shift
  local log="$root/build/$preset.log"
  mkdir -p "$root/build"
  echo "building ($preset) ..."
  if ! (cd "$root" && cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target} "$@") >"$log" 2>&1; then
    grep -nE 'error|FAILED|Error' "$log" | head -n 30 >&2
    tail -n 15 "$log" >&2
    echo "the build failed; everything it said: build/$preset.log" >&2
    return 1
  fi
}
