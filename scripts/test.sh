#!/bin/bash
# Runs the tests of the members and, beside them, those of the whole platform: both wait for servers most of the
# time. What is given is given to both. The second ones' output comes when the first are done.
set -uo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
# A command in the background would ignore Ctrl-C, and what it starts as well.
(trap - INT; exec .venv/bin/pytest -p no:cacheprovider "$@" tests) >"$output" 2>&1 &
platform=$!
trap 'kill -INT "$platform" 2>/dev/null; wait "$platform"; rm -f "$output"; exit 130' INT TERM
.venv/bin/pytest "$@" libs services
members=$?
wait "$platform"
whole=$?
cat "$output"
rm -f "$output"
exit $((members || whole))
