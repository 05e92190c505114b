#!/usr/bin/env bash
# Serves the API and the browser interface until one of them ends, then stops the other and ends as it did:
# a service whose one half is dead must not look alive.
#
#   scripts/run.sh
#
# Variables: those of docs/settings.md; UI_PORT (8501) and UI_HOST (127.0.0.1) for the browser interface.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=${PYTHON:-.venv/bin/python}
readonly grace_s=40 # longer than the API gives its jobs by default

stop() {
    kill -TERM "${pids[@]}" 2>/dev/null
    for _ in $(seq $((grace_s * 10))); do
        kill -0 "${pids[@]}" 2>/dev/null || return
        sleep 0.1
    done
    kill -KILL "${pids[@]}" 2>/dev/null
}

pids=()
trap 'stopping=1' TERM INT
"$python" -m api serve &
pids+=($!)
"$python" -m streamlit run ui/app.py \
    --server.port "${UI_PORT:-8501}" --server.address "${UI_HOST:-127.0.0.1}" >/dev/null &
pids+=($!)
printf 'UI       http://localhost:%s\n' "${UI_PORT:-8501}"

wait -n "${pids[@]}"
code=$?
stop
if [[ -n ${stopping:-} ]]; then # asked to: it ends as the API does, which hands its jobs back first
    wait "${pids[0]}"
    code=$?
fi
exit "$code"
