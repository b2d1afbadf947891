#!/bin/sh
# Makes .venv and installs Stoker into it with all extras. Does nothing when that was done for these very files.
# `setup.sh test` sees also to what only the tests need: git, and a C compiler for their unruly processes.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
bin=.venv/bin
wanted="$("$python" -c 'import sys; print(sys.version_info[:2])') $(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)"
stamp=.venv/.setup

say() { printf 'setup: %s\n' "$*" >&2; }

missing=
if [ "${1-}" = test ]; then
    { command -v cc || command -v gcc; } >/dev/null && [ -f /usr/include/stdlib.h ] || missing="$missing gcc libc6-dev"
    command -v git >/dev/null || missing="$missing git"
fi

if [ -z "$missing" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$bin/python" -c 'import stoker' 2>/dev/null; then
    exit 0
fi

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python 3.11 or newer is needed; set PYTHON to one (found: $("$python" --version 2>&1))"
    exit 1
fi

"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing$missing"
        apt-get update -qq
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        say "these packages are missing; install them, then run this again: apt-get install$missing"
        exit 1
    fi
fi

[ -x "$bin/python" ] || "$python" -m venv .venv
pip() { "$bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
torch=$(sed -n 's/^torch==//p' constraints.txt)

# A machine without an NVIDIA driver gets the CPU build, never gigabytes of CUDA.
if ! "$bin/python" -c 'import torch' 2>/dev/null; then
    if [ -e /proc/driver/nvidia/version ]; then
        say "installing torch $torch (CUDA build: an NVIDIA driver is there)"
        pip install "torch==$torch" -c constraints.txt
    else
        say "installing torch $torch (CPU build)"
        pip install "torch==$torch+cpu" -c constraints.txt 2>/dev/null ||
            pip install "torch==$torch+cpu" -c constraints.txt --extra-index-url "$TORCH_INDEX" ||
            { say "no CPU build of torch was found; set TORCH_INDEX to a package index that has one"; exit 1; }
    fi
fi

say "installing Stoker and what it needs (about a minute or two the first time)"
pip install -e '.[train,dev,stacks]' -c constraints.txt
"$bin/python" -m pip --quiet check
printf '%s' "$wanted" >"$stamp"
say "done: $bin/stoker"
