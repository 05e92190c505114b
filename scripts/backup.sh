#!/usr/bin/env bash
# For cron: 0 2 * * * /path/to/scripts/backup.sh manifests, and on Sundays: 0 3 * * 0 /path/to/scripts/backup.sh full
cd "$(dirname "$0")/.." && exec .venv/bin/python -m api backup --kind "${1:-manifests}"
