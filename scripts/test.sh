#!/bin/bash
# Runs all tests in two halves beside each other, for they wait for servers most of the time: those of most members,
# and those of the whole platform with the rest. What is given is given to both. The second half's output comes when
# the first is done.
set -uo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp)
# A command in the background would ignore Ctrl-C, and what it starts as well.
(trap - INT; exec .venv/bin/pytest -p no:cacheprovider "$@" tests libs/client services/tenants) >"$output" 2>&1 &
platform=$!
trap 'kill -INT "$platform" 2>/dev/null; wait "$platform"; rm -f "$output"; exit 130' INT TERM
.venv/bin/pytest "$@" libs/common libs/local services/indexer services/gateway services/search
members=$?
wait "$platform"
whole=$?
cat "$output"
rm -f "$output"
exit $((members || whole))
