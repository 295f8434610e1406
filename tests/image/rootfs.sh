#!/usr/bin/env bash
# Assembles the file system of an image: programs and exactly the libraries they need, no shell, no package manager.
#   tests/image/rootfs.sh DIRECTORY PROGRAM...     DIRECTORY must not exist; the first program names the image
# The Dockerfiles copy the result into an empty image, and tests/image/run.sh tests the same result.
#   /usr/local/bin             the programs, stripped
#   /usr/lib/TRIPLET           their libraries, each from a Debian package
#   /usr/share/sbom/sbom.spdx.json   SPDX 2.3: those packages, and every file with its digest
#   /usr/share/doc/PACKAGE/copyright, /var/lib/dpkg/status.d/PACKAGE   of exactly those packages; scanners read the latter
# The same programs and packages give the same bytes when SOURCE_DATE_EPOCH is set.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

fail() { echo "rootfs.sh: $*" >&2; exit 1; }

[ $# -ge 2 ] || { sed -n '2,3s/^# *//p' "$0" >&2; exit 2; }
root=$1
shift
[ ! -e "$root" ] || fail "\"$root\" exists; it must be a new directory"
image=$(basename "$1")
epoch=${SOURCE_DATE_EPOCH:-$(date +%s)}
[[ $epoch =~ ^[0-9]+$ ]] || fail "SOURCE_DATE_EPOCH is \"$epoch\"; allowed: seconds since 1970"
version=$(sed -n 's/^project(.* VERSION \([0-9.]*\).*/\1/p' "$here/CMakeLists.txt")
[ -n "$version" ] || fail "CMakeLists.txt names no version of the project"
for program in "$@"; do [ -x "$program" ] || fail "\"$program\" is no program"; done
umask 022
mkdir -p "$root"
root=$(cd "$root" && pwd)
scratch=$(mktemp -d)
complete=
trap 'rm -rf "$scratch"; [ -n "$complete" ] || rm -rf "$root"' EXIT

# What is compiled into the programs and leaves no library behind.
headers_only='nlohmann-json3-dev'

declare -A owner=()    # path in the image → Debian package, or "-" for what is not Debian's
declare -A packages=() # package:architecture → 1

put() {  # SOURCE PATH MODE OWNER
  install -D -m "$3" "$1" "$root$2"
  owner[$2]=$4
}
put_text() {  # PATH TEXT
  printf '%s\n' "$2" >"$scratch/text"
  put "$scratch/text" "$1" 0644 -
}

# Prints "LOADED REAL" for each library: the path under which the loader found it, and the file behind the links.
libraries() {
  local program missing
  for program in "$@"; do
    ldd "$program" >"$scratch/ldd" || fail "ldd cannot read \"$program\""
    missing=$(sed -n 's/^\t\(.*\) => not found$/\1/p' "$scratch/ldd")
    [ -z "$missing" ] || fail "\"$program\" needs libraries that are not installed: $missing"
    sed -n 's/^\t.* => \(\/.*\) (0x.*$/\1/p; s/^\t\(\/.*\) (0x.*$/\1/p' "$scratch/ldd"
  done | sort -u | while read -r loaded; do echo "$loaded $(realpath "$loaded")"; done
}

# Prints "PATH PACKAGE" for each of the real paths. The package database may know a file by its path before /usr was merged.
owners() {
  local path
  for path in "$@"; do printf '%s\n%s\n' "$path" "${path#/usr}"; done |
    { xargs dpkg-query -S 2>/dev/null || true; } | sed -n '/^diversion /d; s/^\([^ ,]*\): \(\/.*\)$/\2 \1/p' |
    while read -r path package; do
      [[ $path == /usr/* ]] || path=/usr$path
      echo "$path $package"
    done | sort -u
}

add_libraries() {
  local loaded real package triplet name
  triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
  libraries "$@" >"$scratch/libraries"
  mapfile -t reals < <(cut -d' ' -f2 "$scratch/libraries" | sort -u)
  [ ${#reals[@]} -gt 0 ] || fail "no program needs a library: are these programs linked statically?"
  owners "${reals[@]}" >"$scratch/owners"
  while read -r loaded real; do
    package=$(awk -v path="$real" '$1 == path {print $2; exit}' "$scratch/owners")
    [ -n "$package" ] || fail "\"$real\" is of no Debian package"
    case $real in
      "/usr/lib/$triplet/"*/*) fail "\"$real\": the loader of the image does not look there" ;;
      "/usr/lib/$triplet/"*) ;;
      *) fail "\"$real\": allowed: files in /usr/lib/$triplet" ;;
    esac
    packages[$package]=1
    case $(basename "$real") in
      ld-linux*) put "$real" "$real" 0755 "$package" ;;
      *) put "$real" "$real" 0644 "$package" ;;
    esac
    name=$(basename "$loaded")
    case $loaded in
      "/lib/$triplet/"* | "/usr/lib/$triplet/"*) link "$real" "/usr/lib/$triplet/$name" ;;
      /lib*) link "$real" "/usr$loaded" ;;  # the loader, at the path that the programs name
      *) fail "\"$loaded\": allowed: libraries of /lib/$triplet and /usr/lib/$triplet" ;;
    esac
  done <"$scratch/libraries"
}

link() {  # REAL PATH: a relative link, unless they are the same
  [ "$1" = "$2" ] && return 0
  mkdir -p "$root$(dirname "$2")"
  ln -sfr "$root$1" "$root$2"
}

add_base() {
  local directory
  # Mount points of the runtime; /tmp is the only one that may be written when the root is not read-only.
  for directory in dev etc proc run sys tmp usr/lib usr/lib64; do mkdir -p "$root/$directory"; done
  ln -s usr/lib "$root/lib"
  ln -s usr/lib64 "$root/lib64"
  put_text /etc/passwd 'root:x:0:0:root:/:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin'
  put_text /etc/group 'root:x:0:
nonroot:x:65532:'
  # What glibc needs to resolve names: "files" and "dns" are built into its libc.
  put_text /etc/nsswitch.conf 'passwd: files
group: files
hosts: files dns'
  put /usr/lib/os-release /usr/lib/os-release 0644 base-files
  link /usr/lib/os-release /etc/os-release
  packages[base-files]=1
  [ -s /etc/ssl/certs/ca-certificates.crt ] || fail "/etc/ssl/certs/ca-certificates.crt is missing: install ca-certificates"
  put /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt 0644 ca-certificates
  packages[ca-certificates]=1
}

# ---- records of packages, and the bill of materials ----

declare -A name_of version_of architecture_of source_of source_version_of

read_packages() {
  local package rest name version architecture source source_version
  while IFS='|' read -r package name version architecture source source_version rest; do
    name_of[$package]=$name version_of[$package]=$version architecture_of[$package]=$architecture
    source_of[$package]=$source source_version_of[$package]=$source_version
    [ -s "/usr/share/doc/$name/copyright" ] || fail "package $name has no copyright file in /usr/share/doc"
  done < <(for package in "$@"; do
    dpkg-query -W -f "$package|\${Package}|\${Version}|\${Architecture}|\${source:Package}|\${source:Version}\n" "$package" || true
  done)
  for package in "$@"; do
    [ -n "${name_of[$package]:-}" ] || fail "package $package is not installed, and the programs were built with it"
  done
}

# The copyright file of each package, and its record where scanners look for packages of an image without dpkg.
add_records() {
  local package name path
  for package in "${!packages[@]}"; do
    name=${name_of[$package]}
    put "/usr/share/doc/$name/copyright" "/usr/share/doc/$name/copyright" 0644 "$package"
    dpkg-query -s "$package" | awk '/^Conffiles:/ {skip = 1; next} /^[^ ]/ {skip = 0} !skip' >"$scratch/status"
    put "$scratch/status" "/var/lib/dpkg/status.d/$name" 0644 -
    for path in "${!owner[@]}"; do
      [ "${owner[$path]}" != "$package" ] || echo "${path#/}"
    done | sort | (cd "$root" && xargs md5sum) >"$scratch/sums"
    put "$scratch/sums" "/var/lib/dpkg/status.d/$name.md5sums" 0644 -
  done
}

# Each sets `out`: as subshells they would take longer than all the rest.
text() { out=${1//\\/\\\\} out=${out//\"/\\\"}; }  # inside a JSON string; no control characters come here
id() { out=SPDXRef-${1//[^A-Za-z0-9.-]/-}; }
encoded() { out=${1//%/%25} out=${out//+/%2B} out=${out//:/%3A}; }

licences() {  # the names in a machine-readable copyright file
  out=$(sed -n 's/^License: *\([^ ].*\)$/\1/p' "$1" | tr -d '\000-\011\013-\037' | sort -u | head -n 40 | paste -sd ';' | sed 's/;/; /g')
  text "$out"
}

# NAME VERSION MORE-FIELDS: one package; its files are analysed when it has some.
sbom_package() {
  local analysed=false code= version
  if [ -s "$scratch/sha1.$1" ]; then
    analysed=true
    code=$(sort "$scratch/sha1.$1" | tr -d '\n' | sha1sum | cut -d' ' -f1)
  fi
  text "$2"
  version=$out
  id "Package-$1"
  printf '{"SPDXID": "%s", "name": "%s", "versionInfo": "%s", "downloadLocation": "NOASSERTION", "filesAnalyzed": %s%s, ' \
    "$out" "$1" "$version" "$analysed" "${code:+, \"packageVerificationCode\": {\"packageVerificationCodeValue\": \"$code\"\}}"
  printf '"licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", %s}\n' "$3"
}

debian_package() {  # PACKAGE COMMENT
  local name=${name_of[$1]} version=${version_of[$1]} source=${source_of[$1]} source_version=${source_version_of[$1]} purl fields
  fields="\"supplier\": \"Organization: Debian\", \"sourceInfo\": \"built from source package: $source $source_version\""
  licences "/usr/share/doc/$name/copyright"
  [ -z "$out" ] || fields+=", \"licenseComments\": \"licences named in /usr/share/doc/$name/copyright: $out\""
  [ -z "$2" ] || fields+=", \"comment\": \"$2\""
  encoded "$name"
  purl=pkg:deb/debian/$out
  encoded "$version"
  purl+="@$out?arch=${architecture_of[$1]}&distro=debian-12"
  encoded "$source@$source_version"
  purl+="&upstream=${out//@/%40}"
  fields+=", \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": \"$purl\"}]"
  sbom_package "$name" "$version" "$fields"
}

relation() {  # ID TYPE ID
  printf '{"spdxElementId": "%s", "relationshipType": "%s", "relatedSpdxElement": "%s"}\n' "$@" >>"$scratch/relations"
}

sbom_files() {
  local path name sha1 sha256 package file
  printf '%s\n' "${!owner[@]}" | sort | sed 's/^/./' >"$scratch/paths"
  (cd "$root" && paste -d' ' "$scratch/paths" <(xargs sha1sum <"$scratch/paths" | cut -d' ' -f1) \
    <(xargs sha256sum <"$scratch/paths" | cut -d' ' -f1)) >"$scratch/digests"
  while read -r path sha1 sha256; do
    package=${owner[${path#.}]}
    name=$image
    [ "$package" = - ] || name=${name_of[$package]}
    echo "$sha1" >>"$scratch/sha1.$name"
    id "File${path#.}"
    file=$out
    printf '{"SPDXID": "%s", "fileName": "%s", "checksums": [{"algorithm": "SHA1", "checksumValue": "%s"}, ' "$file" "$path" "$sha1"
    printf '{"algorithm": "SHA256", "checksumValue": "%s"}], "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"}\n' "$sha256"
    id "Package-$name"
    relation "$out" CONTAINS "$file"
  done <"$scratch/digests" >"$scratch/files"
}

sbom_packages() {
  local package whole
  id "Package-$image"
  whole=$out
  relation SPDXRef-DOCUMENT DESCRIBES "$whole"
  sbom_package "$image" "$version" '"supplier": "NOASSERTION", "primaryPackagePurpose": "CONTAINER"'
  for package in $(printf '%s\n' "${!packages[@]}" | sort); do
    debian_package "$package" ""
    id "Package-${name_of[$package]}"
    relation "$whole" CONTAINS "$out"
  done
  for package in $headers_only; do
    debian_package "$package" "headers only: compiled into the programs"
    id "Package-${name_of[$package]}"
    relation "$whole" STATIC_LINK "$out"
  done
}

add_sbom() {
  local created digest
  sbom_files
  sbom_packages >"$scratch/packages"
  created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
  digest=$(cat "$scratch/packages" "$scratch/files" "$scratch/relations" | sha256sum | cut -c1-32)
  mkdir -p "$root/usr/share/sbom"
  {
    printf '{"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "%s",\n' "$image-$version"
    printf ' "documentNamespace": "https://spdx.org/spdxdocs/%s-%s-%s",\n' "$image" "$version" "$digest"
    printf ' "creationInfo": {"created": "%s", "creators": ["Tool: apim-failover-rootfs.sh"]},\n' "$created"
    printf ' "packages": [\n%s\n ],\n' "$(sed '$!s/$/,/' "$scratch/packages")"
    printf ' "files": [\n%s\n ],\n' "$(sed '$!s/$/,/' "$scratch/files")"
    printf ' "relationships": [\n%s\n ]}\n' "$(sed '$!s/$/,/' "$scratch/relations")"
  } >"$root/usr/share/sbom/sbom.spdx.json"
}

for program in "$@"; do
  strip -o "$scratch/stripped" "$program" || fail "\"$program\" cannot be stripped"
  put "$scratch/stripped" "/usr/local/bin/$(basename "$program")" 0755 -
done
add_base
add_libraries "$@"
# shellcheck disable=SC2086
read_packages "${!packages[@]}" $headers_only
add_records
add_sbom
find "$root" -type d -exec chmod 0755 {} +
chmod 1777 "$root/tmp"
[ "$(id -u)" != 0 ] || chown -hR 0:0 "$root"
find "$root" -exec touch -h -d "@$epoch" {} +
complete=1
