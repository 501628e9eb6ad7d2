#!/usr/bin/env bash
# Packs what the machine with the GPU lacks into parts that can be carried one by one: the wheels of requirements.txt,
# unpacked, and, if named, folders of recorded frames to train on.
#   bench/gpu/pack.sh OUT PART_MIB [DATA]...
# gives OUT/1, OUT/2, …, each with one part of at most PART_MIB; run.sh joins them on the other side.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '2,5p' "$0" >&2; exit 2; }
out=$1 part_mib=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without tests of versions: the interpreter here may be another than the one there.
platforms=(--platform any)
for minor in 17 24 26 27 28 31 34 35 39; do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    "${platforms[@]}" --platform manylinux2014_x86_64 -d "$work/wheels" -r "$here/requirements.txt"
mkdir -p "$work/carried/site" "$work/carried/data"
for wheel in "$work"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$work/carried/site"
done
for folder in "$@"; do
    cp -r "$folder" "$work/carried/data/"
done
# xz takes a third less than the wheels' own compression.
tar -C "$work/carried" -cf - . | xz -6 -T1 >"$work/carried.tar.xz"

rm -rf "$out"
mkdir -p "$out"
split -b "${part_mib}M" -d -a 2 "$work/carried.tar.xz" "$work/part."
parts=("$work"/part.*)
for index in "${!parts[@]}"; do
    mkdir "$out/$((index + 1))"
    mv "${parts[$index]}" "$out/$((index + 1))/"
    # so that the other side knows when it has all
    echo "${#parts[@]}" >"$out/$((index + 1))/count"
done
du -sh "$out"/*
