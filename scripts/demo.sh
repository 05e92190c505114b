#!/usr/bin/env bash
# Runs the pipeline on DEMO_FILE, or on the song that the stempeg package carries. Arguments go to the pipeline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

song=${DEMO_FILE:-}
if [[ -z $song ]]; then
    song=$(echo .venv/lib/python3.11/site-packages/stempeg/data/*.stem.mp4)
    echo 'No FILE=song.mp3 was given: using "Falcon 69" by The Easton Ellises (6 s, from the stempeg package).'
fi
exec .venv/bin/python -m pipeline "$song" --out out "$@"
