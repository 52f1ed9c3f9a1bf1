#!/bin/bash
# Makes the virtual environment from requirements.lock; run by make when the lock or a member has changed.
# What goes wrong is told in one sentence with what to do.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${1:-.venv}
UV_VERSION=0.13.9
started=$SECONDS

say() { printf '    %-68s %5d s\n' "$1" $((SECONDS - started)); }
fail() { printf 'Error: %s\n%s\n' "$1" "$2" >&2; exit 1; }

find_python() {
    local name
    for name in python3.11 python3.12 python3.13 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "apt-get install $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >/dev/null && apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@" >/dev/null
}

make_venv() {
    rm -rf "$VENV"
    "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 && return
    apt_install python3-venv && rm -rf "$VENV" && "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 && return
    rm -rf "$VENV"
    if "$PYTHON" -m virtualenv --version >/dev/null 2>&1; then
        "$PYTHON" -m virtualenv --quiet "$VENV"
    elif command -v uv >/dev/null; then
        uv venv --quiet --seed --python "$PYTHON" "$VENV"
    else
        return 1
    fi
}

PYTHON=$(find_python) || { apt_install python3 python3-venv && PYTHON=$(find_python); } ||
    fail "Python 3.11 or later is not installed." "Install it (Debian: sudo apt-get install python3 python3-venv), then run make again."

if ! "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    make_venv || fail "A virtual environment cannot be made with $PYTHON." \
        "Install its venv module (Debian: sudo apt-get install python3-venv), then run make again."
    say "Virtual environment with $("$VENV/bin/python" --version)"
fi

if [ "$("$VENV/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ]; then
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >/dev/null
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
        fail "uv $UV_VERSION could not be installed." "Check the network and pip's index, then run make again."
    say "uv $UV_VERSION"
fi

UV=("$VENV/bin/uv" pip)
export UV_LINK_MODE=${UV_LINK_MODE:-copy}

# `sync` removes what the lock does not name, uv and the members among it: they are put back below.
cp "$VENV/bin/uv" "$VENV/.uv"
"$VENV/.uv" pip sync --quiet --python "$VENV/bin/python" --require-hashes requirements.lock ||
    fail "The dependencies of requirements.lock could not be installed." \
        "The reason stands above; check the network and the package index, then run make again."
mv "$VENV/.uv" "$VENV/bin/uv"
say "Dependencies of requirements.lock, hashes checked"

members=()
for member in libs/*/pyproject.toml services/*/pyproject.toml; do
    members+=(-e "$(dirname "$member")")
done
"${UV[@]}" install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation "${members[@]}" ||
    fail "The project's own packages could not be installed." "The reason stands above; mend it and run make again."
say "The project's $((${#members[@]} / 2)) packages"
touch "$VENV/.installed"
