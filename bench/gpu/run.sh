#!/usr/bin/env bash
# Joins what pack.sh made, once all parts are there, and runs run.py with the arguments that follow.
#   bench/gpu/run.sh STATE [PART]... -- [ARGUMENT]...
# STATE is a folder that is kept from call to call. A call may bring some parts, or none, and no arguments to run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
state=$1
shift
mkdir -p "$state/parts"
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    cp "$1"/* "$state/parts/"
    shift
done
[ $# -eq 0 ] || shift

if [ -f "$state/parts/count" ] && [ ! -d "$state/carried" ]; then
    parts=("$state"/parts/part.*)
    if [ "${#parts[@]}" -eq "$(cat "$state/parts/count")" ]; then
        rm -rf "$state/unpacked"
        mkdir "$state/unpacked"
        cat "${parts[@]}" | python3 -c \
            'import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz").extractall(sys.argv[1], filter="tar")' \
            "$state/unpacked"
        mv "$state/unpacked" "$state/carried"
    else
        echo "${#parts[@]} of $(cat "$state/parts/count") parts are here"
    fi
fi
[ $# -gt 0 ] || exit 0
# After what is installed: a carried package serves where there is none.
exec python3 "$here/run.py" --state "$state" --carried "$state/carried/site" "$@"
