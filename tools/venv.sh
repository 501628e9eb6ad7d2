# The set-up that ./check and ./demo share. Source it from the repository's root:
#     . tools/venv.sh; ensure_venv EXTRAS
# makes .venv where there is none, installs this package in it with pip's EXTRAS ("ros,test"), and activates it.
# Where nothing has changed since the last time and nothing is missing it only activates. PYTHON names the interpreter to
# make it with.

ensure_venv() {
    local extras=$1 stamp=.venv/installed python fingerprint

    # A sourced ROS installation would mix its libraries with those of the wheels.
    unset PYTHONPATH AMENT_PREFIX_PATH RMW_IMPLEMENTATION

    # Without a pip that runs there is nothing to go on from: a checkout that was moved, or a Python that was removed.
    if ! .venv/bin/pip --version >/dev/null 2>&1; then
        python=$(_find_python) || return 1
        echo "Making .venv with $("$python" --version)" >&2
        rm -rf .venv
        "$python" -m venv .venv || return 1
    fi
    . .venv/bin/activate

    fingerprint=$(cat setup.cfg setup.py pyproject.toml package.xml | cksum)
    if ! grep -qxF "$fingerprint $extras" "$stamp" 2>/dev/null || ! python tools/installed.py "$extras" >/dev/null; then
        echo "Installing depth_completion_ros[$extras] in .venv (only this time; 700 MB, with networks over 2 GB)" >&2
        # Editable: what runs is the checkout, so a changed line of Python needs no new installation.
        pip install --quiet --disable-pip-version-check --editable ".[$extras]" || return 1
        echo "$fingerprint $extras" >>"$stamp"
    fi
}

# The first Python that the package and the ROS wheels know, with what makes virtual environments.
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
    echo "No Python 3.10 to 3.13 found: install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}
