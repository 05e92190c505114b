#!/usr/bin/env bash
# Starts the product: what `make run` does in a checkout, and what an image's container runs.
#
#   scripts/run.sh                 the API and the browser interface, until one of them ends: then the other is
#                                  stopped, and the exit status is that of the one that ended. A service whose one
#                                  half is dead must not look alive.
#   scripts/run.sh api|ui          one of them
#   scripts/run.sh models|verify … python -m pipeline models|verify …
#   scripts/run.sh python|bash|sh … that program
#   scripts/run.sh COMMAND …       python -m api COMMAND …: worker, keys, audit, submit …
#
# Variables: those of docs/settings.md and docs/ui.md; UI_PORT (8501) and UI_HOST (127.0.0.1).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly grace_s=40 # longer than the API gives its jobs by default
python=${PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python # an image has one Python for everything
readonly python

ui=("$python" -m streamlit run ui/app.py
    --server.port "${UI_PORT:-8501}" --server.address "${UI_HOST:-127.0.0.1}")

both() {
    local pids=() code="" asked=""
    # A background job ignores Ctrl-C, so it is told here. nohup's SIGHUP stays ignored: a trap cannot change that.
    trap 'asked=1; kill -TERM "${pids[@]}" 2>/dev/null' TERM INT HUP
    "$python" -m api serve &
    pids+=($!)
    "${ui[@]}" >/dev/null &
    pids+=($!)
    printf 'UI       http://localhost:%s\n' "${UI_PORT:-8501}"
    [[ -z $asked ]] || kill -TERM "${pids[@]}" 2>/dev/null # asked while they were being started

    wait -n "${pids[@]}"
    code=$?
    stop "${pids[@]}"
    if [[ -n $asked ]]; then # it ends as the API does, which hands its jobs back first
        wait "${pids[0]}"
        code=$?
    elif [[ $code -eq 0 ]]; then # nobody asked: that is no success
        code=1
    fi
    return "$code"
}

stop() { # PID...
    kill -TERM "$@" 2>/dev/null
    for _ in $(seq $((grace_s * 10))); do
        kill -0 "$@" 2>/dev/null || return
        sleep 0.1
    done
    kill -KILL "$@" 2>/dev/null
}

case ${1:-} in
    "") both ;;
    api) exec "$python" -m api serve ;;
    ui) exec "${ui[@]}" >/dev/null ;;
    models | verify) exec "$python" -m pipeline "$@" ;;
    python | bash | sh) exec "$@" ;;
    *) exec "$python" -m api "$@" ;;
esac
