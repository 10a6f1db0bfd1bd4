#!/usr/bin/env python3
"""Draws rooms of BabyAI's world and asks questions about them.

    make_questions.py [-o data] [--seed 1] [--train 60000] [--held 1200]

Needs numpy. Written: a picture a room, `rooms/NNNNN.png`, 48 x 48 pixels, 3 x 3 cells with a triangle and one to four
things, one in half of them (the cells are those of samples/babyai, tiles.npz); `questions.jsonl`; and `first.jsonl`, a part
of it, nearly all of one kind, to begin with. Every question has one answer. Kinds of questions (`question_type`):

    color      what color is the ball?                       one of six; there is one ball
    type       what is the red thing?                        ball, box or key; there is one red thing
    count      how many keys are there?                      0 to 2
    exists     is there a blue box?                          yes or no; half of the "no" ask for a color and a type that
                                                             are both in the picture, but of different things
    direction  which way does the triangle look?             right, down, left or up
    side       is the red key left of the blue ball?         yes or no; the things stand in different columns

Splits: `train`; `validation`, looked at while training; `heldout`, not looked at. No room is in two of them. In each kind
and split all answers are equally frequent, as far as there are enough questions: an answer gets at most 1.2 times as many as
the rarest.
"""

import argparse
import collections
import json
import os
import random
import struct
import zlib

import numpy as np

SIDE = 3  # cells
PICTURES = {"train": 12000, "validation": 300, "heldout": 300}
COLORS = ["red", "green", "blue", "purple", "yellow", "grey"]
TYPES = ["ball", "box", "key"]
DIRECTIONS = ["right", "down", "left", "up"]


def room(draw):
    """A triangle and one to four things in cells of their own; rooms of one thing are what is understood first."""
    cells = draw.sample([(x, y) for x in range(SIDE) for y in range(SIDE)], 1 + draw.choice([1, 1, 1, 2, 3, 4]))
    (x, y), *others = cells
    things = [{"type": draw.choice(TYPES), "color": draw.choice(COLORS), "x": x, "y": y} for x, y in others]
    return {"agent": {"x": x, "y": y, "direction": draw.randrange(4)}, "objects": things}


def drawn(clip, tiles):
    """A room's pixels, `[height, width, 3]`, `uint8`."""
    pixels = np.tile(tiles["floor"], (SIDE, SIDE, 1))
    agent = clip["agent"]
    names = [(agent["x"], agent["y"], "agent " + DIRECTIONS[agent["direction"]])]
    names += [(thing["x"], thing["y"], f"{thing['color']} {thing['type']}") for thing in clip["objects"]]
    edge = len(tiles["floor"])
    for x, y, name in names:
        pixels[y * edge : (y + 1) * edge, x * edge : (x + 1) * edge] = tiles[name]
    return pixels


def write_png(path, pixels):
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in parts:
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def asked(room, draw):
    """All questions about a room: (kind, question, answer)."""
    things = room["objects"]
    colors = collections.Counter(thing["color"] for thing in things)
    types = collections.Counter(thing["type"] for thing in things)
    names = collections.Counter((thing["color"], thing["type"]) for thing in things)
    for thing in things:
        if types[thing["type"]] == 1:
            yield "color", f"what color is the {thing['type']}?", thing["color"]
        if colors[thing["color"]] == 1:
            yield "type", f"what is the {thing['color']} thing?", thing["type"]
    for kind in TYPES:
        # More than two are rare.
        if types[kind] <= 2:
            yield "count", f"how many {kind}{'es' if kind == 'box' else 's'} are there?", str(types[kind])
    absent = [(color, kind) for color in COLORS for kind in TYPES if (color, kind) not in names]
    crossed = [(color, kind) for color, kind in absent if color in colors and kind in types]
    for color, kind in names:
        yield "exists", f"is there a {color} {kind}?", "yes"
        color, kind = draw.choice(crossed if crossed and draw.random() < 0.5 else absent)
        yield "exists", f"is there a {color} {kind}?", "no"
    yield "direction", "which way does the triangle look?", DIRECTIONS[room["agent"]["direction"]]
    for one in things:
        for other in things:
            same = names[one["color"], one["type"]] > 1 or names[other["color"], other["type"]] > 1
            if one["x"] == other["x"] or same:
                continue
            question = f"is the {one['color']} {one['type']} left of the {other['color']} {other['type']}?"
            yield "side", question, "yes" if one["x"] < other["x"] else "no"


def balanced(questions, most, draw):
    """At most so many questions, the kinds in equal parts, and the answers of each kind too."""
    by_kind = collections.defaultdict(lambda: collections.defaultdict(list))
    for question in questions:
        by_kind[question["question_type"]][question["answers"]].append(question)
    result = []
    for kind in sorted(by_kind):
        answers = by_kind[kind]
        rarest = min(len(own) for own in answers.values())
        each = min(most // len(by_kind) // len(answers), int(1.2 * rarest))
        for answer in sorted(answers):
            draw.shuffle(answers[answer])
            result += answers[answer][:each]
    draw.shuffle(result)
    return result


def lesson(questions):
    """The questions of `direction`, and of the others no more than make every word and every answer known."""
    counts = collections.Counter()
    for question in questions:
        key = (question["question_type"], question["answers"])
        counts[key] += question["split"] == "train"
        if question["question_type"] == "direction" or (question["split"] == "train" and counts[key] <= 20):
            yield question


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", default="data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=int, default=60000, help="the most training questions")
    parser.add_argument("--held", type=int, default=1200, help="the most questions of each other split")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    here = os.path.dirname(os.path.abspath(__file__))
    stored = np.load(os.path.join(here, "..", "babyai", "tiles.npz"), allow_pickle=False)
    tiles = dict(zip(map(str, stored["names"]), stored["pixels"]))
    os.makedirs(os.path.join(options.output, "rooms"), exist_ok=True)
    seen, written = set(), []
    with open(os.path.join(options.output, "questions.jsonl"), "w") as output:
        for split, count in PICTURES.items():
            questions = []
            for _ in range(count):
                made = room(draw)
                while (looks := drawn(made, tiles)).tobytes() in seen:
                    made = room(draw)
                seen.add(looks.tobytes())
                path = f"rooms/{len(seen) - 1:05d}.png"
                write_png(os.path.join(options.output, path), looks)
                for kind, question, answer in dict.fromkeys(asked(made, draw)):
                    questions.append(
                        {"image": path, "question": question, "answers": answer, "question_type": kind, "split": split}
                    )
            questions = balanced(questions, options.train if split == "train" else options.held, draw)
            for question in questions:
                output.write(json.dumps(question) + "\n")
            written += questions
            counts = collections.Counter((q["question_type"], q["answers"]) for q in questions)
            print(f"{split}: {len(questions)} questions about {len({q['image'] for q in questions})} pictures")
            for kind in sorted({kind for kind, _ in counts}):
                own = {answer: count for (other, answer), count in sorted(counts.items()) if other == kind}
                print(f"  {kind}: {own}")
    with open(os.path.join(options.output, "first.jsonl"), "w") as output:
        for question in lesson(written):
            output.write(json.dumps(question) + "\n")


if __name__ == "__main__":
    main()
