#!/bin/sh
# Makes what docker-compose.prod.yml needs beside itself: secrets/ with keys and passwords of this installation, and
# .env. What is there stays as it is, so it is safe to run again.
#
#   sh deploy/container/init.sh HOST      the name under which the service will be reached
set -eu
cd "$(dirname "$0")/../.."

host=${1:-}
case $host in
'' | *[!A-Za-z0-9.-]*) echo "usage: init.sh HOST, such as audio.example.org" >&2 && exit 2 ;;
esac

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

secret() { # NAME VALUE
    [ ! -s "secrets/$1" ] || return 0
    printf '%s' "$2" >"secrets/.new"
    chmod 644 secrets/.new # the user of a container must be able to read it: nobody else gets into the folder
    mv secrets/.new "secrets/$1"
    echo "made secrets/$1"
}

mkdir -p secrets secrets/prometheus secrets/alertmanager
chmod 700 secrets
chmod 755 secrets/prometheus secrets/alertmanager # below that: for the users of their containers
secret api_key "ap_$(random)"
secret secret_key "$(random)"
secret postgres_password "$(random)"
secret redis_password "$(random)"
secret grafana_password "$(random)"
secret database_url "postgresql+psycopg://pipeline:$(cat secrets/postgres_password)@postgres:5432/pipeline"
secret redis_url "redis://:$(cat secrets/redis_password)@redis:6379/0"

if [ ! -e .env ]; then
    cat >.env <<END
# This installation: what docker-compose.prod.yml fills in, and settings (docs/settings.md, docs/ui.md).
PUBLIC_HOST=$host
COMPOSE_FILE=docker-compose.prod.yml
COMPOSE_PROJECT_NAME=audio-pipeline
END
    chmod 600 .env
    echo "made .env"
fi
echo "The key for the browser interface and the API is in secrets/api_key."
