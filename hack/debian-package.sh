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

# Prints the directory of programs that a Debian package contains. They are found in
# bin/PACKAGE/usr/bin or in $PATH. Else the package is downloaded and unpacked to bin/PACKAGE: it
# is not installed, and root is not required.
#
#   hack/debian-package.sh PACKAGE PROGRAM...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
package=$1
programs=("${@:2}")
unpacked=$PWD/bin/${package}

# has_programs DIRECTORY succeeds if the directory has all programs.
has_programs() {
  local program
  for program in "${programs[@]}"; do [[ -x $1/${program} ]] || return 1; done
}

if has_programs "${unpacked}/usr/bin"; then
  echo "${unpacked}/usr/bin"
  exit
fi
if found=$(command -v "${programs[0]}") && has_programs "${found%/*}"; then
  echo "${found%/*}"
  exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  echo "${programs[*]} not found in \$PATH: install ${package}" >&2
  exit 1
fi
echo "unpacking the Debian package ${package} to bin/${package}" >&2
apt=${unpacked}.apt
mkdir -p "${apt}/lists/partial" "${apt}/cache/archives/partial"
# Use separate package lists: those of the machine may be missing, and require root.
options=(-qq -o "Dir::State::lists=${apt}/lists" -o "Dir::Cache=${apt}/cache" -o APT::Sandbox::User="$(id -un)")
apt-get "${options[@]}" update >&2
(cd "${apt}" && apt-get "${options[@]}" download "${package}" >&2)
rm -rf "${unpacked}"
dpkg --extract "${apt}/${package}"_*.deb "${unpacked}"
rm -rf "${apt}"
echo "${unpacked}/usr/bin"
