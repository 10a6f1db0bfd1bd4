#!/usr/bin/env python3
"""Tells what happens in BabyAI clips: captions that belong to one clip each.

    make_captions.py CLIPS/manifest.jsonl -o captions.jsonl [--train 6000] [--seed 1]

CLIPS is what samples/babyai/make_dataset.py wrote. Its own captions are 36 sentences, far fewer than clips. These here say
which way the triangle looks at first, which ways it walks, in order, what it does at the end, and what else is there:

    it looks up, walks left, then down, and picks up the green key; a red ball and a grey box are there

Where it walks follows from the manifest's `route`, so half of a caption is about what no single frame shows.
Splits: `train`; `validation`, looked at while training; `heldout`, not looked at: other rooms and, in a third of them, missions
that training never shows. In these two no caption occurs twice, so that each has one right clip.
"""

import argparse
import json
import os
import random

DIRECTIONS = ["right", "down", "left", "up"]
STEPS = {(1, 0): "right", (0, 1): "down", (-1, 0): "left", (0, -1): "up"}
ENDS = {"go to": "goes to", "pick up": "picks up"}


def walked(route):
    """The ways from place to place, each named once as long as it lasts."""
    ways = []
    for (x, y, _), (next_x, next_y, _) in zip(route, route[1:]):
        way = STEPS.get((next_x - x, next_y - y))
        if way is not None and (not ways or ways[-1] != way):
            ways.append(way)
    return ways


def listed(parts):
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def caption(clip, draw):
    """What happens in a clip."""
    ways = walked(clip["route"])
    mission = clip["mission"]
    others = [thing for thing in clip["objects"]
              if (thing["color"], thing["type"]) != (mission["color"], mission["type"])]
    draw.shuffle(others)
    walks = f"walks {', then '.join(ways)}," if ways else "stays,"
    rest = (listed([f"a {thing['color']} {thing['type']}" for thing in others])
            + (" is there" if len(others) == 1 else " are there")) if others else "nothing else is there"
    return (f"it looks {DIRECTIONS[clip['route'][0][2]]}, {walks} and {ENDS[mission['verb']]} the {mission['color']} {mission['type']}; "
            f"{rest}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--train", type=int, default=6000, help="the most training clips")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with open(options.manifest) as lines:
        clips = [json.loads(line) for line in lines]
    parts = {"train": [clip for clip in clips if clip["split"] == "train"][: options.train]}
    others = [clip for clip in clips if clip["split"] == "validation"]
    parts["validation"] = others[: len(others) // 3]
    parts["heldout"] = others[len(others) // 3 :] + [clip for clip in clips if clip["split"] == "heldout"]
    folder = os.path.dirname(os.path.abspath(options.manifest))
    target = os.path.dirname(os.path.abspath(options.output))
    with open(options.output, "w") as output:
        for split, some in parts.items():
            told = []
            for clip in some:
                text = caption(clip, draw)
                if split != "train" and text in told:
                    continue
                told.append(text)
                path = os.path.relpath(os.path.join(folder, clip["file"]), target)
                output.write(json.dumps({"file": path, "caption": text, "split": split}) + "\n")
            print(f"{split}: {len(told)} clips, {len(set(told))} captions")


if __name__ == "__main__":
    main()
