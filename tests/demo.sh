#!/usr/bin/env bash
# The main job against the embedded Azure emulator: see usage below.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/setup.sh
. "$root/tests/setup.sh"
# shellcheck source=tests/build.sh
. "$root/tests/build.sh"
preset=${DEMO_PRESET:-dev}
bin=$root/build/$preset/bin
current=${TMPDIR:-/tmp}/apim-failover-demo-$(id -u)  # link to the running demo, for `tests/demo.sh do`

usage() {
  cat <<'TXT'
tests/demo.sh              install what is missing, build, start an emulated Azure, a controller and three agents,
                           run a first sync, then show the status screen; Ctrl-C ends everything
tests/demo.sh --once       play the whole story unattended, print it line by line, end with one JSON line;
                           exit 0 only if all of it held
tests/demo.sh do VERB      break or mend things in the running demo, from another terminal:
    gateway apim-weu cut|reset|hang|slow|ok     the gateway of a service (also: status 503)
    gateway apim-weu cut --from uksouth         for one probe region only
    change                                      somebody edits the active service
    azure-down | azure-up                       every call to Azure's management plane answers 503, or works again
    ctl ARGUMENTS                               failoverctl, with the demo's certificates: do ctl status, do ctl check ...
TXT
}

# ---- breaking things ----

control() { curl -sS --fail-with-body -X "$1" -H 'Content-Type: application/json' ${3:+-d "$3"} "$(cat "$dir/control")/_emulator/$2"; }
ctl() { "$bin/failoverctl" --config "$dir/ctl.yaml" "$@"; }

do_verb() {
  dir=$(readlink -f "$current" 2>/dev/null || true)
  [ -n "$dir" ] && [ -e "$dir/control" ] || { echo "demo.sh: no demo is running; start one with tests/demo.sh" >&2; exit 2; }
  case ${1:-} in
    gateway)
      [ $# -ge 3 ] || { usage >&2; exit 2; }
      local service=$2 mode=$3 status=503 region=null
      shift 3
      while [ $# -gt 0 ]; do
        case $1 in
          --from) region="\"${2:?--from needs a probe region}\""; shift 2 ;;
          [0-9][0-9][0-9]) status=$1; shift ;;
          *) echo "demo.sh: found \"$1\"; allowed: --from REGION, a status code" >&2; exit 2 ;;
        esac
      done
      control PATCH "gateways/$service" "$(jq -nc --arg mode "$mode" --argjson status "$status" --argjson region "$region" \
        '{mode:$mode} + (if $mode=="status" then {status:$status} else {} end) + (if $region then {region:$region} else {} end)')"
      echo ;;
    change) change_active; echo "the active service was changed" ;;
    azure-down) control POST faults '{"action":"status","status":503,"code":"ServiceUnavailable","pathContains":"/subscriptions/"}'; echo ;;
    azure-up) control DELETE faults; echo ;;
    ctl) shift; ctl "$@" ;;
    *) usage >&2; exit 2 ;;
  esac
}

change_active() {
  local active=${1:-$(group | jq -r .active)}
  control PUT "services/$active/entities/namedValues/changed-by-demo" \
    "{\"displayName\":\"changed-by-demo\",\"value\":\"$(date +%s%N)\",\"secret\":false}" >/dev/null
}

# ---- the world ----

certificates() {
  local d=$dir/tls name uri
  mkdir -p "$d"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout "$d/ca.key" -out "$d/ca.pem" \
    -subj "/CN=apim-failover demo CA" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
  while read -r name uri; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$d/$name.key" -out "$d/$name.csr" -subj "/CN=$name" 2>/dev/null
    printf 'subjectAltName=URI:%s\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n' "$uri" >"$d/$name.ext"
    openssl x509 -req -in "$d/$name.csr" -CA "$d/ca.pem" -CAkey "$d/ca.key" -CAcreateserial -days 30 -extfile "$d/$name.ext" -out "$d/$name.pem" 2>/dev/null
  done <<'TXT'
controller spiffe://demo.test/controller/ctl-1
westeurope spiffe://demo.test/agent/westeurope/agent-1
northeurope spiffe://demo.test/agent/northeurope/agent-1
uksouth spiffe://demo.test/agent/uksouth/agent-1
operator spiffe://demo.test/operator/you
TXT
}

endpoint() { jq -er "$1" "$dir/azure/endpoints.json"; }

write_controller_config() {
  local world=$root/tests/testdata/worlds/two-services.json scope
  scope=$(jq -er '"/subscriptions/\(.subscription)/resourceGroups/\(.resourceGroup)/providers"' "$world")
  jq -er '.clients[0].secret' "$world" >"$dir/client-secret"
  jq -er '.storageAccounts[0].key' "$world" >"$dir/storage-key"
  cat >"$dir/controller.yaml" <<YAML
controllerRegion: swedencentral
agentAddress: 127.0.0.1:0
operatorAddress: 127.0.0.1:0
metricsAddress: 127.0.0.1:0
store: {directory: $dir/state}
tls: {certificateFile: $dir/tls/controller.pem, keyFile: $dir/tls/controller.key, caFile: $dir/tls/ca.pem}
failoverGroups:
- name: orders-api
  mode: automatic
  objectives: {rpo: 8h, rto: 2m}
  services:
  - name: apim-weu
    region: westeurope
    resourceId: $scope/Microsoft.ApiManagement/service/apim-weu
    gatewayUrl: $(endpoint '.gateways["apim-weu"].url')
  - name: apim-neu
    region: northeurope
    resourceId: $scope/Microsoft.ApiManagement/service/apim-neu
    gatewayUrl: $(endpoint '.gateways["apim-neu"].url')
  probes:
  - {name: status, http: {path: /status-0123456789abcdef}, interval: 1s, timeout: 1s}
  probeRegions: [westeurope, northeurope, uksouth]
  controlTargets: ["$(endpoint .neutral)"]
  failover: {minDownDuration: 3s, cooldown: 30m, maxPerDay: 2}
  traffic:
    publicUrl: https://$(endpoint .publicName):$(endpoint .gatewayPort)/status-0123456789abcdef
    servedBy: address
    trafficManager:
      profileResourceId: $scope/Microsoft.Network/trafficmanagerprofiles/$(jq -er '.trafficManagerProfiles[0].name' "$world")
      endpoints: {apim-weu: weu, apim-neu: neu}
  sync:
    interval: 1h
    storage:
      account: $(jq -er '.storageAccounts[0].name' "$world")
      container: apim-backups
      access: accessKey
      accessKeyFile: $dir/storage-key
timing: {verifyReadsPerSecond: 500}
azure:
  auth: clientSecret
  tenantId: $(jq -er '.clients[0].tenant' "$world")
  clientId: $(jq -er '.clients[0].clientId' "$world")
  clientSecretFile: $dir/client-secret
  armEndpoint: $(endpoint .arm)
  authorityEndpoint: $(endpoint .authority)
  blobEndpoint: $(endpoint .blob)/{account}
  caFile: $(endpoint .caFile)
YAML
}

write_agent_config() {  # REGION SOURCE-ADDRESS
  cat >"$dir/agent-$1.yaml" <<YAML
probeRegion: $1
controllers: ["$(jq -er .agent "$dir/addresses.json")"]
tls: {certificateFile: $dir/tls/$1.pem, keyFile: $dir/tls/$1.key, caFile: $dir/tls/ca.pem}
allowedHosts: [127.0.0.0/8]
resolver: {servers: ["$(endpoint .dns)"]}
sourceAddress: $2
caFile: $(endpoint .caFile)
metricsAddress: 127.0.0.1:0
YAML
}

pids=()
spawn() {  # LOG COMMAND...
  local log=$dir/$1.log
  shift
  # Its own process group, so that Ctrl-C reaches this script alone, which then ends everything in order.
  setsid "$@" >"$log" 2>&1 </dev/null &
  pids+=($!)
}

finish() {
  local pid
  trap - EXIT INT TERM
  for ((pid = ${#pids[@]} - 1; pid >= 0; pid--)); do kill "${pids[pid]}" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  [ "$(readlink "$current" 2>/dev/null)" != "${dir:-}" ] || rm -f "$current"
  if [ "${keep:-}" = 1 ]; then echo "kept: $dir"; else rm -rf "${dir:-}"; fi
}

fail() {
  echo "demo: FAILED: $*" >&2
  keep=1
  for log in "$dir"/*.log; do
    [ -s "$log" ] || continue
    echo "--- $(basename "$log"), last lines" >&2
    tail -n 5 "$log" | cut -c1-400 >&2
  done
  exit 1
}

wait_for() {  # SECONDS WHAT COMMAND...
  local seconds=$1 what=$2 until
  shift 2
  until=$(($(date +%s) + seconds))
  while ! "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$until" ] || fail "$what: not within $seconds s"
    sleep 0.2
  done
}

group() { { ctl -o json status orders-api || [ $? = 1 ]; } | jq -ec '.groups[0]'; }  # 1: degraded, which is an answer
group_is() { group | jq -e "$1"; }
say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

start() {
  dir=$(mktemp -d "${TMPDIR:-/tmp}/apim-failover-demo.XXXXXX")
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  ln -sfn "$dir" "$current"
  certificates
  mkdir -p "$dir/azure"
  spawn emulator "$bin/azure-emulator" --world "$root/tests/testdata/worlds/two-services.json" --directory "$dir/azure"
  wait_for 20 "the emulated Azure starts" test -s "$dir/azure/endpoints.json"
  endpoint .control >"$dir/control"
  say "emulated Azure: apim-weu (westeurope, active, $(control GET status | jq -r '.services[] | select(.name=="apim-weu") | .entities') entities) and apim-neu (northeurope, pristine)"
  write_controller_config
  "$bin/failover-controller" --check-config "$dir/controller.yaml" >"$dir/check-config.txt" || fail "the demo's configuration is refused"
  spawn controller "$bin/failover-controller" --config "$dir/controller.yaml" --address-file "$dir/addresses.json"
  wait_for 20 "the controller starts" test -s "$dir/addresses.json"
  cat >"$dir/ctl.yaml" <<YAML
controller: $(jq -er .operator "$dir/addresses.json")
tls: {certificateFile: $dir/tls/operator.pem, keyFile: $dir/tls/operator.key, caFile: $dir/tls/ca.pem}
YAML
  local n=1 region
  for region in westeurope northeurope uksouth; do
    write_agent_config "$region" "127.0.2.$n"
    spawn "agent-$region" "$bin/failover-agent" --config "$dir/agent-$region.yaml"
    n=$((n + 1))
  done
  say "controller and three agents run; waiting until the roles are confirmed by traffic and by the public name"
  wait_for 40 "roles are confirmed" group_is '.active == "apim-weu"'
  say "roles: apim-weu is active, apim-neu is a standby"
}

# Follows the open sync run, a line for each stage, until it ends; then checks that the standby was proved equal.
follow_sync() {
  local last= line until=$(($(date +%s) + 120)) status
  while :; do
    status=$(group) || status='{}'
    line=$(jq -r '.sync.run | "\(.id) \(.stage // "")" + (if .stage=="SYNC_STAGE_RESTORE" then " \(.targets[0].service) \(.targets[0].stage)" + (if .targets[0].reason then ": \(.targets[0].reason)" else "" end) else "" end)' <<<"$status" |
      sed 's/SYNC_STAGE_//; s/RESTORE_STAGE_//' | tr 'A-Z' 'a-z')
    if [ "$line" != "$last" ]; then
      say "  $line"
      last=$line
    fi
    case $line in
      *" done"*) break ;;
      *" failed"*) fail "the sync run failed: $(jq -r .sync.run.failure <<<"$status")" ;;
    esac
    [ "$(date +%s)" -lt "$until" ] || fail "the sync run did not end within 120 s"
    sleep 0.3
  done
  group_is '.sync.run.targets[0].stage == "RESTORE_STAGE_DONE"' >/dev/null || fail "the standby was not proved equal: $(group | jq -c .sync.run.targets)"
  say "  the standby holds the backup that began at $(group | jq -r '.sync.run.backup.startedMs | tonumber / 1000 | strftime("%H:%M:%S")') UTC, proved entity by entity"
  syncs=$((syncs + 1))
}

first_sync() {
  syncs=0
  say "first sync run: apim-weu → backup → apim-neu"
  wait_for 40 "a first sync run begins" group_is '.sync.run.id != null'
  follow_sync
  wait_for 40 "the standby is ready" group_is '[.services[] | select(.name=="apim-neu")][0].ready'
  say "ready: $(group | jq -r .bestStandby) would take over now"
}

once() {
  start
  first_sync
  say "somebody changes the active service; an operator orders a sync run"
  change_active apim-weu
  ctl sync run orders-api --reason "demo" >/dev/null || fail "the sync run was refused"
  follow_sync
  wait_for 40 "the standby is ready again" group_is '[.services[] | select(.name=="apim-neu")][0].ready'
  local before after
  before=$(group | jq -r .active)
  say "the gateway of $before is cut off"
  control PATCH "gateways/$before" '{"mode":"cut"}' >/dev/null
  wait_for 30 "the quorum says down" group_is '.outage.active or .state == "failing_over" or .active != "apim-weu"'
  say "the quorum says: $before is down"
  wait_for 60 "traffic is switched" group_is '.active == "apim-neu"'
  say "traffic is switched to apim-neu"
  wait_for 60 "the failover is confirmed through the public name" group_is '.failover.stage == "FAILOVER_STAGE_DONE"'
  after=$(group | jq -r .active)
  group | jq -r '"seen through the public name: RTO \(.rto.totalMs|tonumber/1000) s, \(.failover.outcome)"' | while read -r line; do say "$line"; done
  ctl history orders-api >"$dir/history.txt" || fail "the history cannot be read"
  group | jq -ce --argjson syncs "$syncs" --arg before "$before" '
    def s(x): ((x // "0") | tonumber) / 1000;
    {sync_runs: $syncs, active_before: $before, active_after: .active,
     rto_seconds: {total: s(.rto.totalMs), detect: s(.rto.detectMs), decide: s(.rto.decideMs), switch: s(.rto.switchMs), visible: s(.rto.visibleMs)},
     rpo_seconds: s(.failover.rpoMs), rpo_source: .failover.rpoSource,
     standby_verified: ([.sync.run.targets[] | select(.service == "apim-neu")][0].stage == "RESTORE_STAGE_DONE")}' >"$dir/result.json"
  jq -e '.sync_runs == 2 and .active_before == "apim-weu" and .active_after == "apim-neu" and .standby_verified
         and .rto_seconds.total > 0 and .rto_seconds.detect > 0 and .rto_seconds.visible >= 0 and .rpo_seconds > 0' "$dir/result.json" >/dev/null ||
    fail "the result is not what it must be: $(cat "$dir/result.json")"
  group_is '.rto.proved and (.outage.active | not) and ([.services[] | select(.name=="apim-neu")][0].serving == "enabled")
            and ([.services[] | select(.name=="apim-weu")][0].serving == "disabled")' >/dev/null || fail "the end state is not sound: $(group | jq -c '{rto, services: [.services[] | {name, serving}]}')"
  [ "$after" = apim-neu ] || fail "the active service is $after"
  cat "$dir/result.json"
}

interactive() {
  start
  first_sync
  cat <<TXT

The status screen follows. Break things from another terminal and watch:
  tests/demo.sh do gateway apim-weu cut          the active gateway dies in every region: a failover within seconds
  tests/demo.sh do gateway apim-weu hang         it accepts connections and never answers
  tests/demo.sh do gateway apim-weu cut --from uksouth    one region alone sees it down: nothing happens, sync freezes
  tests/demo.sh do change; tests/demo.sh do ctl sync run  a change, and a sync run that carries it over
  tests/demo.sh do ctl check | history | agents  what would happen, what has happened, who reports
  tests/demo.sh do --help                        all of them
Logs and configurations: $dir      Ctrl-C ends everything.
TXT
  if [ -t 0 ] && [ -t 1 ]; then
    read -r -t 15 -p "Enter: show the screen now (it comes by itself in 15 s) " || true
    ctl status -w orders-api || true
  else
    ctl status orders-api || true
    say "no terminal: the demo goes on until it is stopped"
    while :; do sleep 3600 & wait $!; done
  fi
}

mode=interactive
case ${1:-} in
  --once) mode=once ;;
  --help | -h) usage; exit 0 ;;
  do) shift; [ "${1:-}" != --help ] || { usage; exit 0; }; do_verb "$@"; exit ;;
  '') ;;
  *) echo "demo.sh: found \"$1\"" >&2; usage >&2; exit 2 ;;
esac
need build
need demo
build "$preset" failover-agent failover-controller failoverctl azure-emulator
"$mode"
