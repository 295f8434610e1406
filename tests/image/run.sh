#!/usr/bin/env bash
# The label `image`: the file systems that the Dockerfiles ship, assembled from built programs by the same script, and the
# programs in them, as uid 65532 on a read-only root. One line a check; the last line counts. Exits 1 when a check failed.
#   tests/image/run.sh [BIN]          BIN: where the programs are built; default build/dev/bin
# Where docker, podman or buildah answers, it builds the Dockerfiles too (which compiles): BASE names another image than
# debian:12 to build from, IMAGE_BUILD=no leaves it out.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${1:-$root/build/dev/bin}
cd "$root/tests/image" || exit 1
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d "${TMPDIR:-/tmp}/apim-failover-image.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0 sizes=

skip() { echo "skipped image: $1"; skipped=$((skipped + 1)); }
fail() { echo "FAILED  $1"; failed=$((failed + 1)); }
pass() { echo "ok      $1"; passed=$((passed + 1)); }
finish() {
  echo "image: $passed passed, $failed failed, $skipped skipped${sizes:+ ($sizes)}"
  [ $failed = 0 ]
  exit
}

checks() {  # COMMAND...: one of the Python files
  local status=0 bad
  "$@" >"$work/log" 2>&1 || status=1
  grep -v '^counted ' "$work/log"
  passed=$((passed + $(sed -n 's/^counted //p' "$work/log" | grep . || echo 0)))
  bad=$(grep -c '^FAILED' "$work/log")
  [ $status = 0 ] || failed=$((failed + (bad > 0 ? bad : 1)))
  skipped=$((skipped + $(grep -c '^skipped ' "$work/log")))
}

assemble() {  # IMAGE
  local programs
  mapfile -t programs < <(python3 images.py programs "$1")
  ./rootfs.sh "$work/images/$1" "${programs[@]/#/$bin/}"
}

# In own mount, network and process namespaces; without root as the root of a user namespace.
isolated() {
  local user=()
  [ "$(id -u)" = 0 ] || user=(--user --map-root-user)
  unshare "${user[@]}" --mount --net --pid --fork --kill-child --propagation private "$@"
}

# Prints why containers cannot be imitated here, or nothing.
unable() {
  command -v unshare >/dev/null || { echo "no unshare"; return; }
  local why
  why=$(isolated python3 -c 'import containers; containers.mount("-t", "proc", "proc", "'"$work"'"); containers.prepare_network()' 2>&1) ||
    echo "namespaces, mounts or their network are not permitted: $(tail -n 1 <<<"$why")"
}

# ---- the images for real, where a container engine answers ----

built() {  # ENGINE TAG DIRECTORY: the file system of an image, without what an engine puts into every container
  local id status=0
  mkdir -p "$3"
  case $1 in
    buildah) id=$(buildah from "$2") && tar -C "$(buildah mount "$id")" -c . | tar -x -C "$3" || status=1 ;;
    *) id=$("$1" create "$2") && "$1" export "$id" | tar -x -C "$3" || status=1 ;;
  esac
  "$1" rm "$id" >/dev/null
  (cd "$3" && rm -rf .dockerenv dev/* run/* etc/hosts etc/hostname etc/resolv.conf etc/mtab)
  return $status
}

user_of() {  # ENGINE TAG
  case $1 in
    buildah) buildah inspect --type image --format '{{.OCIv1.Config.User}}' "$2" ;;
    *) "$1" image inspect -f '{{.Config.User}}' "$2" ;;
  esac
}

build_image() {  # ENGINE IMAGE
  local tag=apim-failover-test-$2 file found
  file=$root/$(python3 -c "import images; print(images.DOCKERFILES['$2'])")
  timeout 3600 "$1" build -q ${BASE:+--build-arg "BASE=$BASE"} -f "$file" -t "$tag" "$root" >"$work/build" 2>&1 ||
    { echo "$1 cannot build it:"; tail -n 20 "$work/build"; return 1; }
  built "$1" "$tag" "$work/built/$2" || { echo "its file system cannot be read"; return 1; }
  found=$(user_of "$1" "$tag")
  [ "$found" = 65532:65532 ] || { echo "its user is \"$found\" and not 65532:65532"; return 1; }
  [ "$1" = buildah ] || "$1" run --rm --read-only --cap-drop ALL --network none "$tag" --help 2>&1 | grep -q -e --help ||
    { echo "$1 cannot run it on a read-only root without capabilities"; return 1; }
}

# Sets `engine`, or `why` none can build.
find_engine() {
  local base=${BASE:-debian:12}
  engine= why=
  for engine in docker podman buildah; do
    command -v "$engine" >/dev/null || continue
    [ "${IMAGE_BUILD:-}" != no ] || { why="IMAGE_BUILD=no"; return; }
    timeout 20 "$engine" info >/dev/null 2>&1 || { why="$engine is there and does not answer"; continue; }
    timeout 300 "$engine" pull -q "$base" >/dev/null 2>&1 || { why="$engine cannot pull $base"; continue; }
    why=
    return
  done
  why=${why:-no docker, podman or buildah in the PATH}
}

for tool in python3 openssl readelf strip; do
  command -v "$tool" >/dev/null || { skip "no $tool in the PATH"; finish; }
done
checks python3 dockerfiles_test.py
mkdir "$work/images"
for image in controller agent emulator; do
  if assemble "$image" 2>"$work/log"; then
    pass "$image is assembled"
  else
    fail "$image is assembled: $(cat "$work/log")"
    finish
  fi
done
checks env ROOTFS="$work/images" python3 rootfs_test.py
sizes=$(sed -n 's/^size    \([a-z]*\): \([0-9.]* MB\).*/\1 \2/p' "$work/log" | paste -sd, | sed 's/,/, /g')
why=$(unable)
if [ -n "$why" ]; then
  skip "programs are not run in their images: $why"
else
  checks isolated env ROOTFS="$work/images" python3 programs_test.py
fi
find_engine
if [ -n "$why" ]; then
  skip "Dockerfiles are not built for real: $why"
else
  whole=1
  for image in controller agent emulator; do
    if build_image "$engine" "$image" >"$work/log"; then
      pass "$engine builds $image"
    else
      fail "$engine builds $image: $(cat "$work/log")"
      whole=
    fi
  done
  [ -z "$whole" ] || checks env ROOTFS="$work/built" BUILT_BY="$engine" python3 rootfs_test.py
fi
finish
