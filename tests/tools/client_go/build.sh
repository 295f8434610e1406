#!/usr/bin/env bash
# Builds the elector of client-go (main.go) as build/tools/client-go-elector, once for each version. Where that is not
# possible it says why, in one line and in build/tools/client-go-elector.missing, and is content: the tests skip.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$here/../../../build/tools
program=$tools/client-go-elector
mkdir -p "$tools"
sum=$(cat "$here"/go.mod "$here"/go.sum "$here"/main.go | sha256sum | cut -d' ' -f1)
[ -x "$program" ] && [ "$(cat "$program.sum" 2>/dev/null)" = "$sum" ] && exit 0
rm -f "$program" "$program.sum" "$program.missing"
missing() { echo "$1" | tee "$program.missing"; exit 0; }
command -v go >/dev/null || missing "there is no go in the PATH"
log=$(mktemp "${TMPDIR:-/tmp}/client-go.XXXXXX")
trap 'rm -f "$log"' EXIT
(cd "$here" && GOFLAGS=-buildvcs=false timeout 900 nice go build -p 2 -ldflags '-s -w' -o "$program" .) >"$log" 2>&1 ||
  missing "its Go module cannot be built: $(tail -n 1 "$log")"
echo "$sum" >"$program.sum"
