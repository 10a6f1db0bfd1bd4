#!/usr/bin/env python3
"""Asks questions about the first frames of BabyAI clips, whose manifest says where everything stands.

    make_questions.py CLIPS/manifest.jsonl -o questions.jsonl [--seed 1] [--train 60000] [--held 1200]

CLIPS is what samples/babyai/make_dataset.py wrote. Every question has one answer. Kinds of questions (`question_type`):

    color      what color is the ball?                       one of six; there is one ball
    type       what is the red thing?                        ball, box or key; there is one red thing
    count      how many keys are there?                      0 to 2
    exists     is there a blue box?                          yes or no; half of the "no" ask for a color and a type that
                                                             are both in the picture, but of different things
    direction  which way does the triangle look?             right, down, left or up
    side       is the red key left of the blue ball?         yes or no; the things stand in different columns

Splits are those of the clips, so that no picture of one split is in another: `train`, `validation` and `heldout` (the
manifest's `validation` in two halves: the first is looked at while training, the second is not). In each kind and split all
answers are equally frequent, as far as there are enough questions: an answer gets at most 1.2 times as many as the rarest.
"""

import argparse
import collections
import json
import os
import random

COLORS = ["red", "green", "blue", "purple", "yellow", "grey"]
TYPES = ["ball", "box", "key"]
DIRECTIONS = ["right", "down", "left", "up"]


def asked(clip, draw):
    """All questions about a clip's first frame: (kind, question, answer)."""
    things = clip["objects"]
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
    yield "direction", "which way does the triangle look?", DIRECTIONS[clip["agent"]["direction"]]
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", type=int, default=60000, help="the most training questions")
    parser.add_argument("--held", type=int, default=1200, help="the most questions of each other split")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with open(options.manifest) as lines:
        clips = [json.loads(line) for line in lines]
    held = [clip for clip in clips if clip["split"] == "validation"]
    parts = {
        "train": [clip for clip in clips if clip["split"] == "train"],
        "validation": held[: len(held) // 2],
        "heldout": held[len(held) // 2 :],
    }
    folder = os.path.dirname(os.path.abspath(options.manifest))
    target = os.path.dirname(os.path.abspath(options.output))
    seen = {}
    with open(options.output, "w") as output:
        for split, some in parts.items():
            questions = []
            for clip in some:
                path = os.path.relpath(os.path.join(folder, clip["file"]), target)
                assert seen.setdefault(path, split) == split
                for kind, question, answer in dict.fromkeys(asked(clip, draw)):
                    questions.append(
                        {"image": path, "question": question, "answers": answer, "question_type": kind, "split": split}
                    )
            questions = balanced(questions, options.train if split == "train" else options.held, draw)
            for question in questions:
                output.write(json.dumps(question) + "\n")
            counts = collections.Counter((q["question_type"], q["answers"]) for q in questions)
            print(f"{split}: {len(questions)} questions about {len({q['image'] for q in questions})} pictures")
            for kind in sorted({kind for kind, _ in counts}):
                own = {answer: count for (other, answer), count in sorted(counts.items()) if other == kind}
                print(f"  {kind}: {own}")


if __name__ == "__main__":
    main()
