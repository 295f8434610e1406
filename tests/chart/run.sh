#!/usr/bin/env bash
# The label `chart`: the charts with the real tools. One line for each check: ok, FAILED or skipped with the reason; the last
# line counts. Exits 1 when a check failed.
#   tests/chart/run.sh                    every check whose tools are there
#   BIN=build/dev/bin tests/chart/run.sh  where the programs are that check the rendered configurations
# Tools come from the PATH, else as Go modules (tests/tools/chart, tests/tools/dashboards) into build/tools, where they stay until the versions change.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 1
tools=$root/build/tools
work=$(mktemp -d "${TMPDIR:-/tmp}/apim-failover-chart.XXXXXX")
trap 'rm -rf "$work"' EXIT
export BIN=${BIN:-$root/build/dev/bin} PYTHONDONTWRITEBYTECODE=1
passed=0 failed=0 skipped=0

skip() { echo "skipped $1: $2"; skipped=$((skipped + 1)); }
check() {  # NAME COMMAND...: its output is shown only when it fails
  local name=$1
  shift
  if "$@" >"$work/log" 2>&1; then
    echo "ok      $name"
    passed=$((passed + 1))
  else
    echo "FAILED  $name"
    sed 's/^/        /' "$work/log" | head -n "${LINES_SHOWN:-60}"
    failed=$((failed + 1))
  fi
}

# ---- tools ----

package_of() {
  case $1 in
    helm) echo helm.sh/helm/v4/cmd/helm ;;
    helm3) echo helm.sh/helm/v3/cmd/helm ;;
    helm-unittest) echo github.com/helm-unittest/helm-unittest/cmd/helm-unittest ;;
    kubeconform) echo github.com/yannh/kubeconform/cmd/kubeconform ;;
    dashboard-linter) echo github.com/grafana/dashboard-linter ;;
  esac
}

# Helm 3 takes the version of Kubernetes from its linker flags; without them it believes in 1.20.
flags_of() {
  [ "$1" = helm3 ] || return 0
  local minor package
  minor=$(cd tests/tools/chart && go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
  for package in pkg/chartutil pkg/lint/rules; do
    printf -- '-X helm.sh/helm/v3/%s.k8sVersionMajor=1 -X helm.sh/helm/v3/%s.k8sVersionMinor=%s ' "$package" "$package" "$minor"
  done
}

version_of() { "$1" version --short 2>/dev/null | head -n 1; }

# Prints the path of a tool, or nothing and the reason on the error stream.
find_tool() {
  local name=$1 found sum module=tests/tools/chart
  [ "$name" != dashboard-linter ] || module=tests/tools/dashboards
  case $name in
    helm) found=$(command -v helm) && [[ $(version_of "$found") == v4* ]] && echo "$found" && return ;;
    helm3)
      found=$(command -v helm3) && [[ $(version_of "$found") == v3* ]] && echo "$found" && return
      found=$(command -v helm) && [[ $(version_of "$found") == v3* ]] && echo "$found" && return
      ;;
    *) command -v "$name" && return ;;
  esac
  command -v go >/dev/null || { echo "not in the PATH, and there is no go to install it with" >&2; return 1; }
  sum=$(cat $module/go.mod $module/go.sum | sha256sum | cut -d' ' -f1)
  if [ ! -x "$tools/$name" ] || [ "$(cat "$tools/.$name" 2>/dev/null)" != "$sum" ]; then
    mkdir -p "$tools"
    echo "installing $name as a Go module, once" >&3
    if ! (cd $module && GOFLAGS=-buildvcs=false timeout 1800 nice go build -p 2 -ldflags "-s -w $(flags_of "$name")" \
      -o "$tools/$name" "$(package_of "$name")") >"$work/install" 2>&1; then
      echo "not in the PATH, and it cannot be installed as a Go module: $(tail -n 1 "$work/install")" >&2
      return 1
    fi
    echo "$sum" >"$tools/.$name"
  fi
  echo "$tools/$name"
}

exec 3>&1
declare -A tool why
for name in helm helm3 helm-unittest kubeconform dashboard-linter promtool yamllint python3; do
  case $name in
    promtool | yamllint | python3) tool[$name]=$(command -v "$name") || why[$name]="not in the PATH" ;;
    *) tool[$name]=$(find_tool "$name" 2>"$work/why") || why[$name]=$(cat "$work/why") ;;
  esac
done
if [ -n "${tool[python3]:-}" ] && ! python3 -c 'import yaml' 2>/dev/null; then
  why[python3]="its module yaml is missing (package python3-yaml)"
  tool[python3]=
fi

# ---- checks ----

render() { "$1" template release "charts/$2" -n space -f "$3" --kube-version 1.30.0; }  # HELM CHART FILE

# The rendering is kept for kubeconform.
renders_twice() {  # HELM'S-NAME CHART FILE
  local at=$work/$1.$2.$(basename "$3")
  render "${tool[$1]}" "$2" "$3" >"$at" && render "${tool[$1]}" "$2" "$3" | cmp "$at" -
}

conforms() {  # HELM'S-NAME CHART FILE
  local version
  for version in tests/chart/schemas/v*; do
    version=${version##*/v}
    "${tool[kubeconform]}" -strict -summary -kubernetes-version "$version" \
      -schema-location 'tests/chart/schemas/{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json' \
      -schema-location 'tests/chart/schemas/custom/{{.ResourceKind}}{{.KindSuffix}}.json' "$work/$1.$2.$(basename "$3")" || return 1
  done
}

all_of() {  # CHART COMMAND...: with every set of values, {} is its file; as many at once as there are processors
  local chart=$1 file status=0 job jobs=()
  shift
  for file in "charts/$chart"/ci/*.yaml; do
    [ ${#jobs[@]} -lt "$(nproc)" ] || { wait "${jobs[0]}" || status=1; jobs=("${jobs[@]:1}"); }
    { output=$("${@//\{\}/$file}" 2>&1) || { printf '%s:\n%s\n' "$file" "$output"; exit 1; }; } &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || status=1; done
  return $status
}

same_objects() {  # CHART
  python3 - "$work" "$1" <<'PYTHON'
import pathlib, sys, yaml
folder, chart, bad = pathlib.Path(sys.argv[1]), sys.argv[2], 0
for one in sorted(folder.glob(f"helm.{chart}.*")):
    both = [sorted((o for o in yaml.load_all(f.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if o), key=str)
            for f in (one, folder / one.name.replace("helm.", "helm3.", 1))]
    if both[0] != both[1]:
        bad += 1
        print(one.name)
sys.exit(bad > 0)
PYTHON
}

each_chart() {
  local chart=$1 name
  for name in helm helm3; do
    if [ -z "${tool[$name]:-}" ]; then
      skip "$chart with $name" "${why[$name]}"
      continue
    fi
    check "$chart: $name lint --strict, every set of values" all_of "$chart" "${tool[$name]}" lint --strict --quiet --kube-version 1.37.0 "charts/$chart" -f '{}'
    check "$chart: $name renders every set of values, twice the same" all_of "$chart" renders_twice "$name" "$chart" '{}'
    if [ -n "${tool[kubeconform]:-}" ]; then
      check "$chart: kubeconform -strict of what $name renders, oldest and newest Kubernetes" all_of "$chart" conforms "$name" "$chart" '{}'
    else
      skip "$chart: kubeconform" "${why[kubeconform]}"
    fi
  done
  if [ -n "${tool[helm]:-}" ] && [ -n "${tool[helm3]:-}" ] && [ -n "${tool[python3]:-}" ]; then
    check "$chart: helm and helm3 render the same objects" same_objects "$chart"
  fi
  if [ -n "${tool[helm-unittest]:-}" ]; then
    check "$chart: helm-unittest" "${tool[helm-unittest]}" --strict --color=false "charts/$chart"
  else
    skip "$chart: helm-unittest" "${why[helm-unittest]}"
  fi
}

python_tests() {
  local log=$work/python status=0
  HELM4=${tool[helm]:-} HELM3=${tool[helm3]:-} python3 -m unittest discover -v -s tests/chart -p '*_test.py' >"$log" 2>&1 || status=$?
  sed -nE 's/^test_(\w+) \(.*\.\.\. ok$/ok      \1/p' "$log"
  sed -nE "s/^(test_)?(\w+) \(.*\.\.\. skipped ['\"](.*)['\"]$/skipped \2: \3/p" "$log"
  passed=$((passed + $(grep -cE '\.\.\. ok$' "$log")))
  skipped=$((skipped + $(grep -cE '\.\.\. skipped' "$log")))
  [ "$status" = 0 ] && return
  local bad
  bad=$(grep -cE '^(FAIL|ERROR): ' "$log")
  failed=$((failed + (bad > 0 ? bad : 1)))
  grep -E '^(FAIL|ERROR): ' "$log" | sed -E 's/^(FAIL|ERROR): (test_)?(\w+).*/FAILED  \3/' | sort -u
  sed -n '/^======/,$p' "$log" | head -n 120 | sed 's/^/        /'
}

if [ -n "${tool[python3]:-}" ]; then
  check "values.schema.json and README.md are up to date" python3 tests/chart/generate.py --check
else
  skip "values.schema.json and README.md are up to date" "python3: ${why[python3]}"
fi
if [ -n "${tool[yamllint]:-}" ]; then
  check "yamllint" yamllint -s -c tests/chart/yamllint.yaml charts/*/Chart.yaml charts/*/values.yaml charts/*/ci charts/*/tests charts/*/rules tests/chart/*.yaml
else
  skip yamllint "${why[yamllint]}"
fi
if [ -n "${tool[promtool]:-}" ]; then
  check "promtool check rules" promtool check rules --lint=all --lint-fatal charts/apim-failover/rules/*.yaml
  check "promtool test rules" promtool test rules charts/apim-failover/tests/rules/*.yaml
else
  skip "promtool" "${why[promtool]}"
fi
if [ -n "${tool[dashboard-linter]:-}" ]; then
  for file in charts/apim-failover/dashboards/*.json; do
    check "dashboard-linter $(basename "$file")" "${tool[dashboard-linter]}" lint --strict -c tests/chart/dashboards.lint "$file"
  done
else
  skip "dashboard-linter" "${why[dashboard-linter]}"
fi
for chart in apim-failover apim-failover-agent; do each_chart "$chart"; done
if [ -n "${tool[python3]:-}" ] && [ -n "${tool[helm]:-}${tool[helm3]:-}" ]; then
  python_tests
else
  skip "what the rendered objects promise" "needs python3 with yaml, and helm"
fi

echo "chart: $passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
