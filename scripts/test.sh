#!/bin/bash
# Runs all tests in two halves beside each other, for they wait for servers most of the time: those of the whole
# platform with those of some members, and those of the others. What is given is given to both. The second half's
# output comes when the first is done.
set -uo pipefail
cd "$(dirname "$0")/.."

second=(tests libs/client services/tenants services/analytics)
first=()
for member in libs/* services/*; do
    [[ " ${second[*]} " == *" $member "* ]] || first+=("$member")
done

output=$(mktemp)
# In sessions of their own, so that Ctrl-C reaches each once, from here; in the background it would be ignored.
(trap - INT; exec setsid .venv/bin/pytest "$@" "${first[@]}") &
members=$!
(trap - INT; exec setsid .venv/bin/pytest -p no:cacheprovider "$@" "${second[@]}") >"$output" 2>&1 &
platform=$!

stop() {
    kill -INT "$members" "$platform" 2>/dev/null
    wait "$members" "$platform"
    cat "$output"
    rm -f "$output"
    exit 130
}
trap stop INT TERM

wait "$members"
failed=$?
wait "$platform"
also=$?
cat "$output"
rm -f "$output"
# 5: none of a half's tests were chosen.
for code in "$failed" "$also"; do
    ((code == 0 || code == 5)) || exit "$code"
done
