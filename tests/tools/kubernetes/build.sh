#!/usr/bin/env bash
# Builds a real kube-apiserver, etcd and kubectl from their Go modules, for the tests that want them:
#   tests/tools/kubernetes/build.sh [DIR]     into DIR, default build/kubernetes; then export KUBEBUILDER_ASSETS=DIR
# About 2000 packages: some 20 minutes on 2 cores and 3 GB of memory the first time, nothing when it is up to date.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$here/../../../build/kubernetes}"
dir=$(cd "${1:-$here/../../../build/kubernetes}" && pwd)
cd "$here"
export GOFLAGS=-buildvcs=false
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=$(cut -d. -f2 <<<"$version")
package=k8s.io/component-base/version
flags="-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor"
for name in kube-apiserver kubectl; do nice go build -p 2 -ldflags "$flags" -o "$dir/$name" "k8s.io/kubernetes/cmd/$name"; done
nice go build -p 2 -ldflags '-s -w' -o "$dir/etcd" ./etcd
echo "export KUBEBUILDER_ASSETS=$dir"
