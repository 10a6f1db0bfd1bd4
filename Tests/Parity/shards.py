"""Tar shards made by Python's tarfile, and what the Python package webdataset reads of shards.

    python shards.py                 writes Fixtures/shards/: archives in tarfile's three formats, and samples.json
    python shards.py FOLDER          prints what webdataset reads of the shards in FOLDER, a JSON object a sample

Needs webdataset (1.0.2 was used); everything else is Python's own.
"""
import hashlib
import io
import json
import struct
import sys
import tarfile
import zlib
from pathlib import Path

import webdataset

HERE = Path(__file__).parent / "Fixtures" / "shards"
LONG = "s" * 120 + "/" + "n" * 60


def png(number, width=16, height=12):
    """A picture of one colour that tells its number."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([number, 0, 7]) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


MEMBERS = [
    ("__readme__", b"belongs to no sample"),
    ("0000.png", png(10)),
    ("0000.txt", "a café\n".encode()),
    ("a/0001.json", json.dumps({"caption": "from json", "split": "train", "level": 3}).encode()),
    ("a/0001.PNG", png(11)),
    ("a/0002.seg.png", png(99)),
    ("a/0002.cls", b"4"),
    ("b.dir/0003.png", png(13)),
    ("b.dir/0003.caption", b"third"),
    (".hidden.png", png(98)),
    (LONG + ".png", png(14)),
    (LONG + ".txt", b"a long name"),
]


def write(path, kind):
    with tarfile.open(path, "w", format=kind) as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in MEMBERS:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mtime = 1700000000.25
            archive.addfile(info, io.BytesIO(content))


def samples(paths):
    for sample in webdataset.WebDataset([str(path) for path in paths], shardshuffle=False, empty_check=False):
        parts = {key: value for key, value in sample.items() if not key.startswith("__")}
        yield {
            "key": sample["__key__"],
            "parts": {key: hashlib.sha256(value).hexdigest() for key, value in sorted(parts.items())},
            "text": {key: value.decode() for key, value in parts.items() if key in ("txt", "json", "caption")},
        }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for sample in samples(sorted(Path(sys.argv[1]).glob("*.tar"))):
            print(json.dumps(sample, ensure_ascii=False, sort_keys=True))
    else:
        HERE.mkdir(parents=True, exist_ok=True)
        for name, kind in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
            write(HERE / f"{name}.tar", kind)
        read = [list(samples([HERE / f"{name}.tar"])) for name in ("ustar", "gnu", "pax")]
        assert read[0] == read[1] == read[2]
        text = json.dumps({"made_with": f"webdataset {webdataset.__version__}", "samples": read[0]}, indent=1)
        (HERE / "samples.json").write_text(text + "\n")
