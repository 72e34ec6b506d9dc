#!/usr/bin/env bash

# Copyright 2026 The ray-operator Authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

# Builds images with real Ray for tests: Debian packages and wheels from PyPI, without a container
# engine. An image has the name, user and home directory of the official one. It gets no security
# updates: do not use it in production.
#
#   hack/ray-image.sh [VERSION...]    build bin/ray-image/ray-VERSION.tar (docker-archive)
#   hack/ray-image.sh --versions      print the tested versions of Ray, newest first
#   hack/ray-image.sh --lock VERSION  resolve the requirements of a version, and pin them with hashes
#
# hack/ray-image/ray-VERSION.txt has the pinned requirements of a version, and these files define the
# tested versions. ray-VERSION.in is what they were resolved from. libraries-VERSION.txt has what Ray
# Data and Ray Train require in addition: it is in /opt/ray-libraries, for PYTHONPATH, since each start
# of Python with Ray takes longer if it finds them. Images that are up to date are not built again.
# Requires root, for chroot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$PWD
requirements=${root}/hack/ray-image
out=${root}/bin/ray-image
base=${out}/base
suite=bookworm # its Python is 3.11, which all tested versions of Ray support
packages=usr/local/lib/python3.11/dist-packages
libraries=opt/ray-libraries

log() { printf '==> %s\n' "$*" >&2; }

fail() {
  echo "ray-image: $*" >&2
  exit 1
}

versions() {
  local file
  for file in "${requirements}"/ray-*.txt; do
    file=${file##*/ray-}
    echo "${file%.txt}"
  done | sort --version-sort --reverse
}

check_machine() {
  [[ $(uname -sm) == "Linux x86_64" ]] || fail "building images requires Linux on x86_64, this machine is $(uname -sm)"
  [[ $EUID -eq 0 ]] || fail "building images requires root, for chroot; run it as root"
  command -v wget >/dev/null || fail "debootstrap requires wget; install the package wget"
}

# image_pip DIRECTORY runs pip with the Python of the root file system in DIRECTORY. It runs outside of
# a chroot, so that this machine's certificates, proxies and pip configuration apply.
image_pip() {
  local libraries=$1/usr/lib/x86_64-linux-gnu wheel
  wheel=$(echo "$1"/usr/share/python-wheels/pip-*.whl)
  "${libraries}/ld-linux-x86-64.so.2" --library-path "${libraries}" "$1/usr/bin/python3" -I "${wheel}/pip" "${@:2}"
}

# pack DIRECTORY FILE PATH... writes paths below a directory to a tar file that depends only on their
# content.
pack() {
  tar --create --file "$2" --directory "$1" --sort=name --mtime=@0 --numeric-owner --format=posix \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime "${@:3}"
}

# compile_modules DIRECTORY PATH compiles the Python modules below a path of the root file system in
# DIRECTORY. The user of the image cannot write compiled files, and pack changes the times by which Python
# would recognize these: without them, each start of Python compiles what it imports, which takes longer.
compile_modules() {
  chroot "$1" python3 -m compileall -q -f -j 0 --invalidation-mode unchecked-hash "$2" >"${out}/compileall.log" 2>&1 ||
    log "some modules in $2 do not compile; see ${out}/compileall.log"
}

# build_base writes ${base}, a root file system with Python, and ${base}.tar.
build_base() {
  local stamp debootstrap=${root}/bin/debootstrap
  stamp=$(declare -f build_base pack compile_modules | sha256sum)
  if [[ -f ${base}.stamp && $(<"${base}.stamp") == "${stamp}" ]]; then return; fi
  log "building the base of the images with debootstrap (about a minute)"
  rm -rf "${base}" "${base}".{stamp,tar,partial}
  mkdir -p "${out}"
  hack/debian-package.sh --into "${debootstrap}" debootstrap
  # In a mount namespace, /proc of the new root does not stay mounted if debootstrap is interrupted.
  # python3-venv has pip as a wheel, and lets runtime environments of Ray create virtual environments.
  if ! DEBOOTSTRAP_DIR=${debootstrap}/usr/share/debootstrap unshare --mount --propagation private \
    "${debootstrap}/usr/sbin/debootstrap" --variant=minbase --include=python3,python3-venv "${suite}" \
    "${base}.partial" >"${out}/debootstrap.log" 2>&1; then
    tail -n 20 "${out}/debootstrap.log" >&2
    fail "debootstrap failed; see ${out}/debootstrap.log and ${base}.partial/debootstrap/debootstrap.log"
  fi
  (
    cd "${base}.partial"
    rm -rf var/cache/apt/* var/cache/ldconfig/* var/cache/debconf/*-old var/lib/apt/lists/* var/log/* \
      usr/share/{doc,locale,man}/* etc/{hostname,resolv.conf}
  )
  compile_modules "${base}.partial" /usr/lib/python3.11
  # The user of the official images, and their name of Python.
  chroot "${base}.partial" useradd --create-home --shell /bin/bash --uid 1000 --gid 100 ray
  ln -s python3 "${base}.partial/usr/bin/python"
  pack "${base}.partial" "${base}.tar" .
  mv "${base}.partial" "${base}"
  echo "${stamp}" >"${base}.stamp"
}

# install_pinned DIRECTORY TARGET NAME installs the pinned requirements in NAME.txt into the directory
# TARGET. Versions are pinned, so that pip has nothing to resolve.
install_pinned() {
  image_pip "$1" install --quiet --no-deps --require-hashes --only-binary :all: --no-compile --no-warn-conflicts \
    --root-user-action ignore --target "$2" --requirement "${requirements}/$3.txt" >&2
}

# install_ray DIRECTORY VERSION installs Ray into a root file system.
install_ray() {
  local target=$1/${packages}
  install_pinned "$1" "${target}" "ray-$2"
  mv "${target}/bin"/* "$1/usr/local/bin/"
  rmdir "${target}/bin"
  # pip writes the path of the Python that runs it.
  sed --in-place '1s|^#!.*python.*|#!/usr/bin/python3|' "$1/usr/local/bin"/*
  log "compiling the Python modules of Ray $2"
  compile_modules "$1" "/${packages}"
}

# install_libraries DIRECTORY VERSION installs what Ray Data and Ray Train require, if it is pinned.
install_libraries() {
  [[ -f ${requirements}/libraries-$2.txt ]] || return 0
  install_pinned "$1" "$1/${libraries}" "libraries-$2"
  compile_modules "$1" "/${libraries}"
}

# check_ray DIRECTORY VERSION runs the command that Pods run.
check_ray() {
  local printed
  printed=$(chroot --userspec=1000:100 "$1" /usr/bin/env HOME=/home/ray ray --version) || fail "ray --version fails in ${1}"
  [[ ${printed} == "ray, version $2" ]] || fail "ray --version prints ${printed}, want version $2"
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# write_archive VERSION LAYER FILE writes a docker-archive of the base and a layer.
write_archive() {
  local stage=${out}/archive
  rm -rf "${stage}"
  mkdir "${stage}"
  ln "${base}.tar" "${stage}/base.tar"
  ln "$2" "${stage}/ray.tar"
  cat >"${stage}/config.json" <<JSON
{
  "architecture": "amd64",
  "os": "linux",
  "config": {
    "User": "1000",
    "WorkingDir": "/home/ray",
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/home/ray", "LANG=C.UTF-8"],
    "Cmd": ["/bin/bash"]
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$(digest "${base}.tar")", "sha256:$(digest "$2")"]}
}
JSON
  cat >"${stage}/manifest.json" <<JSON
[{"Config": "config.json", "RepoTags": ["docker.io/rayproject/ray:$1"], "Layers": ["base.tar", "ray.tar"]}]
JSON
  pack "${stage}" "$3" manifest.json config.json base.tar ray.tar
  rm -rf "${stage}"
}

build() {
  local version=$1 image=${out}/ray-$1.tar stamp work=${out}/work
  [[ -f ${requirements}/ray-${version}.txt ]] ||
    fail "no pinned requirements for Ray ${version}; run hack/ray-image.sh --lock ${version} (tested versions: $(versions | xargs))"
  stamp=$(cat "${base}.stamp" hack/ray-image.sh "${requirements}"/*-"${version}".txt | sha256sum)
  if [[ -f ${image} && -f ${image}.stamp && $(<"${image}.stamp") == "${stamp}" ]]; then
    log "${image#"${root}/"} is up to date"
    return
  fi
  log "installing Ray ${version}"
  rm -rf "${work}" "${image}" "${image}.stamp"
  cp --archive --reflink=auto "${base}" "${work}"
  install_ray "${work}" "${version}"
  install_libraries "${work}" "${version}"
  check_ray "${work}" "${version}"
  log "writing ${image#"${root}/"}"
  pack "${work}" "${out}/layer.tar" usr/local opt
  write_archive "${version}" "${out}/layer.tar" "${image}"
  rm -rf "${work}" "${out}/layer.tar"
  echo "${stamp}" >"${image}.stamp"
}

# lock VERSION writes the pinned requirements of a version, and of its libraries, if they have any.
lock() {
  [[ -f ${requirements}/ray-$1.in ]] || echo "ray[default]==$1" >"${requirements}/ray-$1.in"
  resolve "ray-$1" "$1" /dev/null
  [[ ! -f ${requirements}/libraries-$1.in ]] || resolve "libraries-$1" "$1" "${requirements}/ray-$1.txt"
}

# resolve NAME VERSION FILE resolves the requirements in NAME.in, and pins them in NAME.txt, except for
# packages that are pinned in FILE.
resolve() {
  local input=${requirements}/$1.in report
  report=$(mktemp)
  log "resolving ${input#"${root}/"}"
  image_pip "${base}" install --quiet --dry-run --ignore-installed --only-binary :all: --report "${report}" --requirement "${input}"
  {
    echo "# Generated by hack/ray-image.sh --lock $2 from $1.in. DO NOT EDIT."
    chroot "${base}" python3 -c '
import json, sys
for item in sorted(json.load(sys.stdin)["install"], key=lambda item: item["metadata"]["name"].lower()):
    metadata, digest = item["metadata"], item["download_info"]["archive_info"]["hashes"]["sha256"]
    print("{}=={} --hash=sha256:{}".format(metadata["name"], metadata["version"], digest))
' <"${report}" | grep -v --line-regexp --fixed-strings --file "$3"
  } >"${requirements}/$1.txt"
  rm "${report}"
}

main() {
  case ${1:-} in
    --versions)
      versions
      ;;
    --lock)
      [[ $# -eq 2 ]] || fail "usage: hack/ray-image.sh --lock VERSION"
      check_machine
      build_base
      lock "$2"
      ;;
    -*) fail "usage: hack/ray-image.sh [VERSION...] | --versions | --lock VERSION" ;;
    *)
      check_machine
      build_base
      local version selected=("$@")
      [[ $# -gt 0 ]] || mapfile -t selected < <(versions)
      for version in "${selected[@]}"; do build "${version}"; done
      ;;
  esac
}

main "$@"
