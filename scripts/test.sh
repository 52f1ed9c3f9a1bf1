#!/bin/bash
# Runs all tests in three parts beside each other, for they wait for servers most of the time: libraries and chaos,
# the services and the client, the rest of the whole platform's. What is given is given to each. The first part's
# output comes as it runs, that of the others when it is done.
set -uo pipefail
cd "$(dirname "$0")/.."

parts=("libs/common libs/local tests/chaos" "services libs/client" "tests/access tests/attack tests/e2e tests/isolation")
folder=$(mktemp -d)
processes=()

# In sessions of their own, so that Ctrl-C reaches each once, from here; in the background it would be ignored.
run() {
    (trap - INT; exec setsid .venv/bin/pytest "$@") &
    processes+=($!)
}

tell() {
    for number in "${!parts[@]}"; do
        ((number == 0)) || cat "$folder/$number"
    done
    rm -rf "$folder"
}

stop() {
    kill -INT "${processes[@]}" 2>/dev/null
    wait "${processes[@]}"
    tell
    exit 130
}
trap stop INT TERM

for number in "${!parts[@]}"; do
    read -ra paths <<<"${parts[number]}"
    if ((number == 0)); then
        run "$@" "${paths[@]}"
    else
        run -p no:cacheprovider "$@" "${paths[@]}" >"$folder/$number" 2>&1
    fi
done

failed=0
for process in "${processes[@]}"; do
    wait "$process"
    code=$?
    # 5: none of a part's tests were chosen.
    ((code == 0 || code == 5)) || failed=$code
done
tell
exit "$failed"
