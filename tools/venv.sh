# The set-up for ./check and ./demo. Source it from the root of the repository:
#     . tools/venv.sh; ensure_venv EXTRAS
# This makes .venv if it does not exist, installs this package with the given extras ("ros,test") in it, and activates it.
# If nothing has changed since the last time and nothing is missing, it only activates .venv. Set PYTHON to choose the
# interpreter for .venv.

ensure_venv() {
    local extras=$1 stamp=.venv/installed python fingerprint

    # A sourced ROS installation would mix its libraries with those of the wheels.
    unset PYTHONPATH AMENT_PREFIX_PATH RMW_IMPLEMENTATION

    # If pip does not run, for example because the checkout was moved or Python was removed, .venv must be made again.
    if ! .venv/bin/pip --version >/dev/null 2>&1; then
        python=$(_find_python) || return 1
        echo "Making .venv with $("$python" --version)" >&2
        rm -rf .venv
        "$python" -m venv .venv || return 1
    fi
    . .venv/bin/activate

    fingerprint=$(cat setup.cfg setup.py pyproject.toml package.xml | cksum)
    if ! grep -qxF "$fingerprint $extras" "$stamp" 2>/dev/null || ! python tools/installed.py "$extras" >/dev/null; then
        echo "Installing depth_completion_ros[$extras] in .venv (only once; 700 MB, or over 2 GB with networks)" >&2
        # Editable: the code of the checkout is used, so changed Python code needs no new installation.
        pip install --quiet --disable-pip-version-check --editable ".[$extras]" || return 1
        echo "$fingerprint $extras" >>"$stamp"
    fi
}

# The first Python that the package and the ROS wheels support and that can make virtual environments.
_find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
            if ! "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
                echo "$candidate cannot make virtual environments: install its venv package" \
                    "(Debian and Ubuntu: apt install $("$candidate" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])'))" >&2
                return 1
            fi
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.10 to 3.13 found: install one, or set its path: PYTHON=/path/to/python3 $0" >&2
    return 1
}
