#!/usr/bin/env python3
"""Asks a model for every phrase of a split's pictures and counts how often the right box is found.

    score.py data/manifest.jsonl --split known --model run/model [--mmgen mmgen]

A box is right if it overlaps the phrase's own by half or more of what both cover. Printed: the share of phrases whose right
box is the first, among the first five, among the first ten, the mean overlap of the first, and what a choice of one of the
picture's true boxes at random would find.
"""

import argparse
import json
import os
import subprocess


def overlap(one, other):
    """The share of what two boxes (left, top, right, bottom) cover that both cover."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return shared / (area(one) + area(other) - shared)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("--split", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--mmgen", default="mmgen", help="the program")
    options = parser.parse_args()
    with open(options.manifest) as lines:
        pictures = [line for line in map(json.loads, lines) if line["split"] == options.split]
    ranks, overlaps, chance = [], [], 0
    for picture in pictures:
        phrases = {picture["caption"][slice(*box["phrases"][0])]: box["box"] for box in picture["boxes"]}
        asked = [word for phrase in phrases for word in ("--phrase", phrase)]
        path = os.path.join(os.path.dirname(options.manifest), picture["file"])
        done = subprocess.run(
            [options.mmgen, "ground", path, picture["caption"], *asked, "--top", "10", "--model", options.model, "--json"],
            check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)["found"]
        for phrase, (left, top, width, height) in phrases.items():
            right = (left, top, left + width, top + height)
            shares = [overlap(box["box"], right) for box in found if box["phrase"] == phrase]
            ranks.append(next((rank for rank, share in enumerate(shares) if share >= 0.5), len(shares)))
            overlaps.append(shares[0])
            chance += 1 / len(phrases)
            if ranks[-1] == len(shares):
                ranks[-1] = 1 << 30
    recalls = ", ".join(f"recall@{k} {sum(rank < k for rank in ranks) / len(ranks):.3f}" for k in (1, 5, 10))
    print(f"{len(ranks)} phrases of {len(pictures)} pictures ({options.split}): {recalls}, "
          f"overlap of the first {sum(overlaps) / len(overlaps):.3f}; at random {chance / len(ranks):.3f}")


if __name__ == "__main__":
    main()
