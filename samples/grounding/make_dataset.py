#!/usr/bin/env python3
"""Makes pictures of several emoji each, with captions that name them and boxes that say where they are.

    apt-get install ruby-gemojione ruby-tanuki-emoji     # EmojiOne's pictures, and Noto's
    pip install pillow
    python3 make_dataset.py                              # data/: 96 x 96 pixels, manifest.jsonl

The things are the same in all splits, but never their pictures:
  train       Noto's pictures, in places, sizes, orders and on colours drawn at random
  validation  EmojiOne's pictures of the same things, in other places and combinations: a hand that training never saw
  known       Noto's pictures in combinations that training never saw
"""

import argparse
import json
import os
import random
import sys

from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "emoji"))
import make_dataset as emoji  # noqa: E402

SIZE = 96
# Things that both artists draw alike enough, and their names.
THINGS = {
    "2764": "red heart", "1F49A": "green heart", "1F499": "blue heart", "1F436": "dog face", "1F43C": "panda face",
    "1F437": "pig face", "1F438": "frog face", "1F427": "penguin", "1F419": "octopus", "1F34E": "red apple",
    "1F34A": "tangerine", "1F34C": "banana", "1F347": "grapes", "1F344": "mushroom", "1F339": "rose",
    "1F33B": "sunflower", "1F384": "christmas tree", "26BD": "soccer ball", "1F3C0": "basketball",
    "1F381": "wrapped gift", "2B50": "star", "1F1EF-1F1F5": "flag of japan", "1F1EB-1F1F7": "flag of france",
    "1F697": "car",
}
COLOURS = ["white", "#f4f1e8", "#e6eef5", "#d9e8d8", "#f5e1e1", "#dedede", "#303030", "#26324a", "#5a4632", "#3d5a40"]


def load(path):
    """A thing without the empty margin around it."""
    image = Image.open(path).convert("RGBA")
    return image.crop(image.getchannel("A").point(lambda level: 255 if level > 32 else 0).getbbox())


def place(draw, size, taken):
    """A corner where a thing overlaps the others by a tenth of its own area at most; None if fifty draws find none."""
    width, height = size
    for _ in range(50):
        left, top = draw.randint(0, SIZE - width), draw.randint(0, SIZE - height)
        shared = sum(
            max(0, min(left + width, x + w) - max(left, x)) * max(0, min(top + height, y + h) - max(top, y))
            for x, y, w, h in taken)
        if shared <= 0.1 * width * height and all(
                max(0, min(left + width, x + w) - max(left, x)) * max(0, min(top + height, y + h) - max(top, y))
                <= 0.1 * w * h for x, y, w, h in taken):
            return left, top
    return None


def scene(draw, pictures):
    """A picture, its caption, and its boxes with the characters that speak of them."""
    canvas = Image.new("RGBA", (SIZE, SIZE), draw.choice(COLOURS))
    codes = draw.sample(sorted(THINGS), draw.randint(2, 3))
    taken, chosen = [], []
    for code in codes:
        image = pictures[code]
        side = draw.randint(28, 46)
        scale = side / max(image.size)
        size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
        corner = place(draw, size, taken)
        if corner is None:
            continue
        canvas.alpha_composite(image.resize(size, Image.LANCZOS), corner)
        taken.append((*corner, *size))
        chosen.append(code)
    caption, spans = "", {}
    order = draw.sample(range(len(chosen)), len(chosen))
    for number, index in enumerate(order):
        name = THINGS[chosen[index]]
        article = "" if name == "grapes" else "the " if name.startswith("flag") else "an " if name[0] in "aeiou" else "a "
        caption += "" if number == 0 else " and " if number == len(order) - 1 else ", "
        spans[index] = [[len(caption), len(caption) + len(article + name)]]
        caption += article + name
    boxes = [{"box": list(box), "phrases": spans[index]} for index, box in enumerate(taken)]
    return canvas.convert("RGB"), caption, boxes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=emoji.GEMS, help="where Debian's packages put the pictures")
    parser.add_argument("-o", "--output", default="data")
    parser.add_argument("--train", type=int, default=6000, help="how many pictures are learned from")
    parser.add_argument("--held-out", type=int, default=300, help="how many pictures each other split has")
    arguments = parser.parse_args()
    emojione = emoji.find(arguments.root, "gemojione-*/assets/png")
    noto = emoji.find(arguments.root, "tanuki_emoji-*/app/assets/images/tanuki_emoji")
    pictures = {"noto": {}, "emojione": {}}
    for code in THINGS:
        pictures["noto"][code] = load(os.path.join(noto, emoji.flag_name(code) or emoji.noto_name(code)))
        pictures["emojione"][code] = load(os.path.join(emojione, code + ".png"))
    lines, counts = [], {"train": arguments.train, "validation": arguments.held_out, "known": arguments.held_out}
    for split, count in counts.items():
        os.makedirs(os.path.join(arguments.output, split), exist_ok=True)
        draw = random.Random(split)
        for number in range(count):
            picture, caption, boxes = scene(draw, pictures["emojione" if split == "validation" else "noto"])
            file = f"{split}/{number:05d}.png"
            picture.save(os.path.join(arguments.output, file))
            lines.append({"file": file, "caption": caption, "boxes": boxes, "split": split})
    with open(os.path.join(arguments.output, "manifest.jsonl"), "w", encoding="utf-8") as output:
        for line in lines:
            output.write(json.dumps(line) + "\n")
    shares = [1 / len(line["boxes"]) for line in lines if line["split"] == "validation" for _ in line["boxes"]]
    print(f"{len(lines)} pictures; one of a picture's true boxes at random: recall@1 {sum(shares) / len(shares):.3f}")


if __name__ == "__main__":
    main()
