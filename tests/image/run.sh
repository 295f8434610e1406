#!/usr/bin/env bash
# The label `image`: the file systems that the Dockerfiles ship, assembled from built programs by the same script, and the
# programs in them, as uid 65532 on a read-only root. One line a check; the last line counts. Exits 1 when a check failed.
#   tests/image/run.sh [BIN]          BIN: where the programs are built; default build/dev/bin
#   IMAGE_BUILD=no tests/image/run.sh     without building the Dockerfiles where a container engine answers
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${1:-$root/build/dev/bin}
cd "$root/tests/image" || exit 1
export PYTHONDONTWRITEBYTECODE=1
work=$(mktemp -d "${TMPDIR:-/tmp}/apim-failover-image.XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 sizes=

for tool in python3 openssl readelf strip; do
  command -v "$tool" >/dev/null || { echo "skipped image: no $tool"; echo "image: 0 passed, 0 failed"; exit 0; }
done

checks() {  # COMMAND...: one of the Python files
  local status=0
  "$@" >"$work/log" 2>&1 || status=1
  grep -v '^counted ' "$work/log"
  sizes+=$(sed -n 's/^size    \([a-z]*: [0-9.]* MB\).*/ \1,/p' "$work/log")
  passed=$((passed + $(sed -n 's/^counted //p' "$work/log" | grep . || echo 0)))
  [ $status = 0 ] || failed=$((failed + 1))
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

# The images for real: their file systems must pass the same checks as the assembled ones.
build_images() {  # ENGINE
  local engine=$1 image status=0 tag id
  for image in controller agent emulator; do
    tag=apim-failover-test-$image
    "$engine" build -q -f "$root/$(python3 -c "import images; print(images.DOCKERFILES['$image'])")" -t "$tag" "$root" >"$work/build" 2>&1 ||
      { echo "FAILED  $engine build $image"; tail -n 20 "$work/build" | sed 's/^/        /'; return 1; }
    mkdir -p "$work/built/$image"
    id=$("$engine" create "$tag") && "$engine" export "$id" | tar -x -C "$work/built/$image" || status=1
    "$engine" rm "$id" >/dev/null
    # What an engine puts into every container.
    (cd "$work/built/$image" && rm -rf .dockerenv dev/* run/.containerenv etc/hosts etc/hostname etc/resolv.conf etc/mtab)
    [ "$("$engine" image inspect -f '{{.Config.User}}' "$tag")" = 65532:65532 ] || { echo "FAILED  $image: its user is not 65532:65532"; status=1; }
    "$engine" run --rm --read-only --cap-drop ALL --network none "$tag" --help >"$work/help" 2>&1 ||
      { echo "FAILED  $engine run $image: $(tail -n 1 "$work/help")"; status=1; }
  done
  return $status
}

engine() {
  local name
  for name in docker podman; do
    command -v "$name" >/dev/null || continue
    timeout 20 "$name" info >/dev/null 2>&1 || { echo "skipped image: Dockerfiles are not built for real: $name answers with an error"; return; }
    [ "${IMAGE_BUILD:-}" != no ] || { echo "skipped image: Dockerfiles are not built for real: IMAGE_BUILD=no"; return; }
    timeout 300 "$name" pull -q debian:12 >/dev/null 2>&1 || "$name" image inspect debian:12 >/dev/null 2>&1 ||
      { echo "skipped image: Dockerfiles are not built for real: $name cannot pull debian:12"; return; }
    if build_images "$name"; then
      passed=$((passed + 1))
      echo "ok      $name builds the three Dockerfiles"
      checks env ROOTFS="$work/built" BUILT_BY="$name" python3 rootfs_test.py
    else
      failed=$((failed + 1))
    fi
    return
  done
  echo "skipped image: Dockerfiles are not built for real: neither docker nor podman in the PATH"
}

checks python3 dockerfiles_test.py
mkdir "$work/images"
for image in controller agent emulator; do
  if assemble "$image" 2>"$work/log"; then
    passed=$((passed + 1))
    echo "ok      $image is assembled"
  else
    echo "FAILED  $image is not assembled: $(cat "$work/log")"
    echo "image: $passed passed, $failed failed"
    exit 1
  fi
done
checks env ROOTFS="$work/images" python3 rootfs_test.py
why=$(unable)
if [ -n "$why" ]; then
  echo "skipped image: programs are not run in their images: $why"
else
  checks isolated env ROOTFS="$work/images" python3 programs_test.py
fi
[ -z "$sizes" ] || echo "sizes  ${sizes%,}"
engine
echo "image: $passed passed, $failed failed"
[ $failed = 0 ]
