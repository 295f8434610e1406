#!/usr/bin/env bash
# Installs what is missing, builds, runs every test, and says how long each part took and what was skipped and why.
#   tests/run.sh [--all]     --all: also what would make the run longer than 45 minutes on a slow machine (without it,
#                            sanitizers and clang-tidy are begun only while there is time for them)
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/setup.sh
. "$root/tests/setup.sh"
# shellcheck source=tests/build.sh
. "$root/tests/build.sh"

all=
case ${1:-} in
  --all) all=1 ;;
  '') ;;
  --help | -h) sed -n '2,4s/^# *//p' "$0"; exit 0 ;;
  *) echo "run.sh: found \"$1\"; allowed: --all" >&2; exit 2 ;;
esac

parts=()
failed=()
skipped=()
passed_tests=0
failed_tests=0

part() {  # NAME COMMAND...
  local name=$1 begun=$SECONDS status=0
  shift
  echo
  echo "== $name"
  "$@" || status=$?
  parts+=("$(printf '%-28s %5.1f min  %s' "$name" "$(awk "BEGIN{print ($SECONDS-$begun)/60}")" "$([ "$status" = 0 ] && echo ok || echo FAILED)")")
  [ "$status" = 0 ] || failed+=("$name")
  return 0
}

# MINUTES NAME COMMAND...: a part that is begun only in the first MINUTES of the run.
part_within() {
  local minutes=$1
  shift
  if [ -n "$all" ] || [ $SECONDS -lt $((minutes * 60)) ]; then
    part "$@"
  else
    skipped+=("$1: no time left before minute $minutes (--all runs it)")
  fi
}

# A script of the label of its folder. It writes a line for each check, "ok …", "FAILED …" or "skipped NAME: REASON", and
# at the end "LABEL: N passed, N failed, N skipped".
script() {
  local log line passed bad status=0
  log=$root/build/$(basename "$(dirname "$1")").log
  "$@" >"$log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then tail -n 1 "$log"; else grep -A 60 -m 5 '^FAILED' "$log"; tail -n 5 "$log"; fi
  while read -r line; do skipped+=("$line"); done < <(sed -n 's/^skipped //p' "$log")
  read -r passed bad < <(sed -nE 's/^[a-z]+: ([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' "$log" | tail -n 1)
  passed_tests=$((passed_tests + ${passed:-0}))
  failed_tests=$((failed_tests + ${bad:-0}))
  return "$status"
}

tests_of() {  # PRESET LABEL [REGEX]: the ctest label of a build; counts its tests
  local log=$root/build/$1-$2.log status=0 name
  ctest --test-dir "$root/build/$1" -L "^$2$" ${3:+-R "$3"} --output-on-failure --no-tests=error -j 2 >"$log" 2>&1 || status=$?
  [ "$status" = 0 ] && tail -n 4 "$log" || grep -vE '^ *[0-9]+/[0-9]+ Test +#.*Passed|^ *Start ' "$log" | tail -n 120
  grep -E '\*\*\*Skipped' "$log" | sed -E 's/.*: ([^ ]+) .*/\1/' | sort -u >"$log.skipped"
  while read -r name; do
    skipped+=("$name ($1): $(grep -F -A40 "$name" "$log" | grep -m1 -oE 'Skipped: .*' || cat "$root/build/tools/$name.missing" 2>/dev/null || echo "see build/$(basename "$log")")")
  done <"$log.skipped"
  local total bad
  total=$(grep -oE 'out of [0-9]+' "$log" | grep -oE '[0-9]+' | tail -n 1)
  bad=$(grep -oE '[0-9]+ tests? failed out of' "$log" | grep -oE '^[0-9]+' | tail -n 1)
  passed_tests=$((passed_tests + ${total:-0} - ${bad:-0}))
  failed_tests=$((failed_tests + ${bad:-0}))
  return "$status"
}

lint() {
  local status=0 files base
  python3 "$root/tests/check_layers.py" "$root" || status=1
  mapfile -t files < <(cd "$root" && find common controller agent tests \( -name '*.cc' -o -name '*.h' \) -not -path '*/node_modules/*' | sort)
  (cd "$root" && clang-format --dry-run --Werror "${files[@]}" 2>&1 | grep -E 'error' | cut -d: -f1 | sort | uniq -c) && status=1
  (cd "$root" && bash -n tests/*.sh .ci/run) || status=1
  return $status
}

sanitized() {  # PRESET LABEL...: builds the tests of these labels under sanitizers, and runs them
  local preset=$1 label status=0
  shift
  build "$preset" "${@/#/tests_}" || return 1
  for label in "$@"; do
    TSAN_OPTIONS="ignore_noninstrumented_modules=1:halt_on_error=1" tests_of "$preset" "$label" || status=1
  done
  return $status
}

# Only what changed: clang-tidy takes 7 to 18 s a file.
tidy() {
  local base changed
  base=$(git -C "$root" rev-list -1 --before='12 hours ago' HEAD 2>/dev/null)
  if [ -z "$base" ]; then
    skipped+=("clang-tidy: no commit older than 12 hours to compare with")
    return 0
  fi
  mapfile -t changed < <(cd "$root" && git diff --name-only --diff-filter=d "$base" -- 'common/*.cc' 'controller/*.cc' 'agent/*.cc' | head -n 12)
  [ ${#changed[@]} -gt 0 ] || return 0
  (cd "$root" && cmake --preset tidy >/dev/null && cmake --build --preset tidy --target failover_proto >/dev/null &&
    printf '%s\n' "${changed[@]}" | xargs -P 2 -n 1 clang-tidy -p build/tidy --quiet 2>/dev/null)
}

npm_packages() {
  command -v npm >/dev/null || { skipped+=("tests with Azurite and the SDK of Azure: no npm"); return 0; }
  (cd "$root/tests/npm" && [ -d node_modules ] && cmp -s package-lock.json node_modules/.installed) && return 0
  if (cd "$root/tests/npm" && timeout 300 npm ci --silent --no-audit --no-fund >"$root/build/npm.log" 2>&1 && cp package-lock.json node_modules/.installed); then
    return 0
  fi
  skipped+=("tests with Azurite and the SDK of Azure: npm ci failed, see build/npm.log")
}

cd "$root" || exit 1
mkdir -p build
part "install" eval 'need build && need demo && need tests'
part "npm packages" npm_packages
part "build dev" build dev
if [ ${#failed[@]} = 0 ]; then
  part "lint" lint
  for label in unit sim component e2e; do part "$label" tests_of dev "$label"; done
  part "demo" "$root/tests/demo.sh" --once
  part "image" script "$root/tests/image/run.sh" "$root/build/dev/bin"
  part_within 30 "chart" script "$root/tests/chart/run.sh"
  if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    part "kubernetes" tests_of dev kubernetes
  else
    skipped+=("kubernetes: KUBEBUILDER_ASSETS is not set (tests/tools/kubernetes/build.sh makes its folder)")
  fi
  part_within 21 "asan" sanitized asan unit component
  # Debian's gRPC is built without ThreadSanitizer: its templates in our programs are reported, whatever the options.
  part_within 0 "tsan" sanitized tsan component
  part_within 38 "clang-tidy" tidy
fi

echo
echo "== parts"
printf '%s\n' "${parts[@]}"
echo "total $((SECONDS / 60)) min"
[ ${#skipped[@]} = 0 ] || { echo "== skipped"; printf '%s\n' "${skipped[@]}"; }
[ ${#failed[@]} = 0 ] || { echo "== failed"; printf '%s\n' "${failed[@]}"; }
echo
echo "$passed_tests passed, $((failed_tests + (${#failed[@]} > 0 && failed_tests == 0 ? 1 : 0))) failed, ${#skipped[@]} skipped"
[ ${#failed[@]} = 0 ]
