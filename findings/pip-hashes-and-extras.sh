#!/usr/bin/env bash
# pip 23.2.1: a requirements file that pins and hashes every package is refused as soon as the index has a newer release of one
# that another package wants with an extra. The same file, unchanged, installed on the day on which it was locked.
#
# Expected: with --require-hashes the lock decides, whatever else the index has. Seen: pytest-cov 7.1.0 wants
# `coverage[toml]>=7.10.6`, the file pins coverage==7.10.6 with its hashes, and pip 23.2.1 ends with code 1 and
#   In --require-hashes mode, all requirements must have their versions pinned with ==. These do not:
#       coverage[toml]>=7.10.6 from ... (from pytest-cov==7.1.0->-r ...)
# because it looks at the newest coverage for the requirement with the extra, which is not the pinned one. pip 24.0 takes the
# file. With --no-deps, which resolves nothing, pip 23.2.1 takes it too, and `pip check` agrees with what is then there.
#
# Needs python3 3.11 or 3.12 (as PYTHON) and a package index. Exit codes: 0 as described, 1 something has changed.
set -euo pipefail
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"$python" -m venv tools
tools/bin/python -m pip install --quiet --disable-pip-version-check pip==24.0
lock() { # NAME==VERSION: a line with the hash of the file that pip takes here
  tools/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest files "$1" >&2
  file=$(ls -t files/* | head -n 1)
  echo "$1 $(tools/bin/python -m pip hash "$file" | grep -o -- '--hash=.*')"
}
for package in pytest-cov==7.1.0 coverage==7.10.6 pytest==8.4.2 pluggy==1.6.0 iniconfig==2.1.0 packaging==25.0 pygments==2.19.2; do
  lock "$package"
done >lock.txt

install() { # PIP OPTION...: the exit code, and the output in a file
  "$python" -m venv --clear environment
  environment/bin/python -m pip install --quiet --disable-pip-version-check "pip==$1"
  shift
  code=0
  environment/bin/python -m pip install --disable-pip-version-check --require-hashes --requirement lock.txt "$@" >output.txt 2>&1 || code=$?
  echo "$code"
}
fail() { echo "changed: $*"; cat output.txt; exit 1; }

[ "$(install 23.2.1)" = 1 ] || fail "pip 23.2.1 takes the lock"
grep -q 'all requirements must have their versions pinned with ==' output.txt || fail "pip 23.2.1 refuses it with other words"
grep -q 'coverage\[toml\]>=7.10.6' output.txt || fail "pip 23.2.1 names another requirement"
grep -A1 'These do not' output.txt | sed 's/ from .*//'
[ "$(install 24.0)" = 0 ] || fail "pip 24.0 refuses the lock"
[ "$(install 23.2.1 --no-deps)" = 0 ] || fail "pip 23.2.1 refuses the lock with --no-deps"
environment/bin/python -m pip check
echo "as described: pip 23.2.1 refuses a complete lock, pip 24.0 and --no-deps do not"
