#!/usr/bin/env python3
"""Makes pictures with names out of two emoji sets that Debian carries, drawn by different hands.

    apt-get install ruby-gemojione ruby-tanuki-emoji     # EmojiOne's pictures, and Noto's
    pip install pillow
    python3 make_dataset.py                              # data/: 64 x 64 pixels, manifest.jsonl

Splits:
  train       Noto's picture of every emoji but the unseen ones, and EmojiOne's of half of them
  validation  EmojiOne's picture of a part of the other half: a known thing, drawn by a hand that has not drawn it
  artist      EmojiOne's pictures of the rest of that half
  unseen      both pictures of things that training never saw or heard of
"""

import argparse
import glob
import hashlib
import json
import os
import sys

from PIL import Image

GEMS = "/usr/share/rubygems-integration/all/gems"
SIZE = 64
# Skin colours are told apart by nothing but a shade; one picture of each thing is enough.
SKINS = ("1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF")


def find(root, pattern):
    found = sorted(glob.glob(os.path.join(root, pattern)))
    if not found:
        sys.exit(f"There is no {pattern} below {root}; install ruby-gemojione and ruby-tanuki-emoji, or name --root.")
    return found[-1]


def noto_name(code):
    """How Noto names the file of EmojiOne's 1F468-200D-1F33E: without the variation selector, in lower case."""
    return "emoji_u" + "_".join(part.lower() for part in code.split("-") if part != "FE0F") + ".png"


def flag_name(code):
    """How Noto names a flag: by its two letters."""
    points = [int(part, 16) for part in code.split("-")]
    if len(points) == 2 and all(0x1F1E6 <= point <= 0x1F1FF for point in points):
        return "".join(chr(point - 0x1F1E6 + ord("A")) for point in points) + ".png"
    return None


def share(code, purpose):
    """A number from 0 to 1 that depends on the emoji alone."""
    return int(hashlib.sha256(f"{purpose} {code}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def picture(path):
    """On white, as large as fits, in the middle."""
    image = Image.open(path).convert("RGBA")
    image.thumbnail((SIZE, SIZE), Image.LANCZOS)
    canvas = Image.new("RGBA", (SIZE, SIZE), "white")
    canvas.alpha_composite(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return canvas.convert("RGB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=GEMS, help="where Debian's packages put the pictures")
    parser.add_argument("-o", "--output", default="data")
    arguments = parser.parse_args()
    index = json.load(open(find(arguments.root, "gemojione-*/config/index.json"), encoding="utf-8"))
    emojione = find(arguments.root, "gemojione-*/assets/png")
    noto = find(arguments.root, "tanuki_emoji-*/app/assets/images/tanuki_emoji")
    os.makedirs(os.path.join(arguments.output, "noto"), exist_ok=True)
    os.makedirs(os.path.join(arguments.output, "emojione"), exist_ok=True)
    lines, names = [], set()
    for entry in sorted(index.values(), key=lambda entry: entry["unicode"]):
        code, name = entry["unicode"], entry["name"].strip().lower()
        if any(skin in code for skin in SKINS) or name in names:
            continue
        ours = os.path.join(emojione, code + ".png")
        theirs = os.path.join(noto, flag_name(code) or noto_name(code))
        if not os.path.exists(ours) or not os.path.exists(theirs):
            continue
        names.add(name)
        caption = f"flag of {name}" if entry["category"] == "flags" and flag_name(code) else name
        if share(code, "unseen") < 0.1:
            splits = ("unseen", "unseen")
        elif share(code, "artist") < 0.5:
            splits = ("train", "train")
        else:
            splits = ("train", "validation" if share(code, "validation") < 0.35 else "artist")
        for artist, source, split in (("noto", theirs, splits[0]), ("emojione", ours, splits[1])):
            file = f"{artist}/{code}.png"
            picture(source).save(os.path.join(arguments.output, file))
            lines.append({
                "file": file, "caption": caption, "split": split, "category": entry["category"], "artist": artist,
            })
    def write(name, chosen):
        with open(os.path.join(arguments.output, name), "w", encoding="utf-8") as output:
            for line in chosen:
                output.write(json.dumps(line, ensure_ascii=False) + "\n")
    write("manifest.jsonl", lines)
    # What the verbs are shown: each split by itself.
    for split in ("artist", "unseen"):
        write(f"{split}.jsonl", [line for line in lines if line["split"] == split])
    write("unseen-noto.jsonl", [line for line in lines if line["split"] == "unseen" and line["artist"] == "noto"])
    for split in ("train", "validation", "artist", "unseen"):
        print(f"{split}: {sum(line['split'] == split for line in lines)} pictures")


if __name__ == "__main__":
    main()
