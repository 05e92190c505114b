#!/bin/sh
# Makes the secrets of an installation, each at random, as a manifest on standard output; nothing is kept here.
#
#   sh deploy/kubernetes/make-secrets.sh | kubectl apply --filename -
#
# Once: others would lock the installation out of its database, and its keys would be good no more.
set -eu
random() { openssl rand -hex "$1"; }
postgres=$(random 24)
redis=$(random 24)
cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: pipeline-secrets
  namespace: audio-pipeline
type: Opaque
stringData:
  api_key: $(random 32)
  secret_key: $(random 32)
  postgres_password: $postgres
  redis_password: $redis
  database_url: postgresql+psycopg://pipeline:$postgres@postgres:5432/pipeline
  redis_url: redis://:$redis@redis:6379/0
END
