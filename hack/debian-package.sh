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

# Provides programs of Debian packages without installing them. Root is not required.
#
#   hack/debian-package.sh PACKAGE PROGRAM...
#
# Prints the directory of the programs, which the package contains. They are found in
# bin/PACKAGE/usr/bin or in $PATH. Else the package is downloaded and unpacked to bin/PACKAGE.
#
#   hack/debian-package.sh --into DIRECTORY PACKAGE...
#
# Unpacks packages, and the libraries they require that are not installed, into one directory. Does
# nothing if the directory has these packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# has_programs DIRECTORY succeeds if the directory has all programs.
has_programs() {
  local program
  for program in "${programs[@]}"; do [[ -x $1/${program} ]] || return 1; done
}

# unpack DIRECTORY DOWNLOAD PACKAGE... replaces the directory by the content of packages that the
# function DOWNLOAD downloads.
unpack() {
  local directory=$1 download=$2 packages=("${@:3}") file
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "apt-get and dpkg not found: cannot download ${packages[*]}" >&2
    exit 1
  fi
  echo "unpacking the Debian packages ${packages[*]} to ${directory#"${PWD}"/}" >&2
  apt=${directory}.apt
  rm -rf "${apt}"
  mkdir -p "${apt}/lists/partial" "${apt}/cache/archives/partial" "${apt}/root"
  # Use separate package lists: those of the machine may be missing, and require root.
  options=(-qq -o "Dir::State::lists=${apt}/lists" -o "Dir::Cache=${apt}/cache" -o APT::Sandbox::User="$(id -un)")
  apt-get "${options[@]}" update >&2
  "${download}" "${packages[@]}" >&2
  for file in "${apt}"/cache/archives/*.deb; do dpkg --extract "${file}" "${apt}/root"; done
  printf '%s\n' "${packages[@]}" >"${apt}/root/packages"
  rm -rf "${directory}"
  mv "${apt}/root" "${directory}"
  rm -rf "${apt}"
}

only_packages() { (cd "${apt}/cache/archives" && apt-get "${options[@]}" download "$@"); }

# apt-get install selects the libraries that are not installed. The packages are downloaded even if
# they are installed.
with_libraries() {
  apt-get "${options[@]}" -o Debug::NoLocking=true install --download-only --reinstall --no-install-recommends --yes "$@"
}

if [[ $1 == --into ]]; then
  directory=$2
  packages=("${@:3}")
  if [[ $(cat "${directory}/packages" 2>/dev/null) != "$(printf '%s\n' "${packages[@]}")" ]]; then
    unpack "${directory}" with_libraries "${packages[@]}"
  fi
  exit
fi

package=$1
programs=("${@:2}")
unpacked=$PWD/bin/${package}
if has_programs "${unpacked}/usr/bin"; then
  echo "${unpacked}/usr/bin"
  exit
fi
if found=$(command -v "${programs[0]}") && has_programs "${found%/*}"; then
  echo "${found%/*}"
  exit
fi
if ! command -v apt-get >/dev/null; then
  echo "${programs[*]} not found in \$PATH: install ${package}" >&2
  exit 1
fi
unpack "${unpacked}" only_packages "${package}"
echo "${unpacked}/usr/bin"
