#!/usr/bin/env python3
"""Makes a captioned video set: CoinRun, played by an agent with simple skills, and sentences that say what happened.

    pip install procgen-mirror
    python3 make_dataset.py            # 5,000 training clips and 700 others under data/

A clip is 16 frames of 64x64 pixels at 8 frames a second, every second step of the game. The camera stands still within
a clip. procgen shows nothing of a level after its end; a clip that sees it goes on with the last state, without the
agent if it died and without the coin if that was collected. Clips are stored without loss (H.264, RGB, quantizer 0),
because a reconstruction can be judged no better than its ground truth. The same --seed gives the same set.

Written: `clips/NNNNN.mp4`, `manifest.jsonl` (a line per clip: file, caption, split, events, clauses, the true track,
level, camera), `prompts.txt` (the training sentences, the most frequent first) and `held-out.txt` (those that training
never sees, likewise).
Splits: `train`; `validation` (other levels, sentences as in training); `heldout` (other levels, other sentences).

Needs: procgen-mirror (MIT licence), which brings numpy and Pillow, and the ffmpeg command.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np

import game
import sentences
from game import COIN, CRATE, ENEMY, LAVAS, PIXELS, SAW, SAW_TURNED, VIEW, Play, State
from sentences import FRAMES, FRAMES_PER_SECOND, STEPS_PER_FRAME, Track

HERE = os.path.dirname(os.path.abspath(__file__))
LONGEST_EPISODE = 300
GRID = 3  # the camera stands at multiples of so many tiles, 16 pixels: walls then lie alike in all clips


def episode(env, choose):
    """One level from its start: the states, and how it ended."""
    play = Play(choose)
    states = [State(env.callmethod("get_state")[0])]
    while len(states) < LONGEST_EPISODE:
        env.act(np.array([play.action(states[-1])]))
        reward, _, first = env.observe()
        if first[0]:
            return states, "coin" if reward[0] > 0 else "death"
        states.append(State(env.callmethod("get_state")[0]))
    env.act(np.array([-1]))  # the next level
    env.observe()
    return states, None


def place_camera(states, choose):
    """Where to put a camera so that the agent stays in its picture, or None."""
    low, high = min(state.x for state in states) - 0.7, max(state.x for state in states) + 0.7
    bottom, top = min(state.foot for state in states) - 0.9, max(state.foot for state in states) + 1.9
    lefts = [left for left in range(0, 64, GRID) if left <= low and high <= left + VIEW]
    bottoms = [place for place in range(0, 64, GRID) if place <= bottom and top <= place + VIEW]
    return (choose.choice(lefts), choose.choice(bottoms)) if lefts and bottoms else None


def inside(things, left, bottom):
    """Things as the camera sees them: those wholly in the picture, from its lower left corner."""
    moved = [(x - left, y - bottom) for x, y in things]
    return [(x, y) for x, y in moved if 0.4 < x < VIEW - 0.4 and 0.4 < y < VIEW - 0.4]


def track_of(shown, ending, left, bottom):
    """The track of a clip that shows these states and then, if there are fewer than frames, an ending."""
    rest = FRAMES - len(shown)
    agent = [(state.x - left, state.foot - bottom) for state in shown]
    coin = [bool(inside(state.cells(COIN), left, bottom)) for state in shown]
    enemies = [inside(state.things(ENEMY), left, bottom) for state in shown]
    first = shown[0]
    return Track(
        agent=agent + ([None] if ending == "death" else agent[-1:]) * rest,
        coin=coin + [ending != "coin" and coin[-1]] * rest,
        crates=inside(first.things(CRATE), left, bottom),
        saws=inside(first.things(SAW, SAW_TURNED), left, bottom),
        lava=inside(first.cells(*LAVAS), left, bottom),
        enemies=enemies + enemies[-1:] * rest,
    )


def cuts(states, ending, choose):
    """Clips of an episode that can be told in a sentence: (shown states, how they end, camera, track, clauses)."""
    earliest = 0
    for start in range(len(states)):
        shown = states[start : start + FRAMES * STEPS_PER_FRAME : STEPS_PER_FRAME]
        rest = FRAMES - len(shown)
        ended = ending if rest else None
        if start < earliest or not states[start].supported or len(shown) < 4 or (rest and (rest < 3 or not ending)):
            continue
        camera = place_camera(shown, choose)
        if camera is None:
            continue
        track = track_of(shown, ended, *camera)
        found = sentences.certain_clauses(track)
        if not found or len(found) > sentences.MOST_CLAUSES or (rest and found[-1] not in sentences.ENDS):
            continue
        earliest = start + choose.randint(5, 12)
        yield shown, ended, camera, track, found


def clips(split, place, count, seed):
    """Yields `count` clips as (frames `[FRAMES, PIXELS, PIXELS, 3]`, facts), frequent sentences less often."""
    env, camera = game.environment(place * game.LEVELS, seed), game.Camera()
    env.observe()
    told = collections.Counter()
    number = made = 0
    while made < count:
        choose = random.Random(f"{seed} {split} {number}")
        level = int(env.get_info()[0]["level_seed"])
        states, ending = episode(env, choose)
        for shown, ended, where, track, found in cuts(states, ending, choose):
            caption = sentences.sentence(found)
            if made == count or sentences.held_out(found) != (split == "heldout") or told[caption] >= 4 + 0.006 * made:
                continue
            pictures = [camera.picture(state, *where) for state in shown]
            if ended:
                hidden = {"without_agent": ended == "death", "without_coin": ended == "coin"}
                pictures += [camera.picture(shown[-1], *where, **hidden)] * (FRAMES - len(shown))
            told[caption] += 1
            made += 1
            yield np.stack(pictures), {
                "caption": caption,
                "split": split,
                "events": sentences.events(found),
                "clauses": found,
                "track": rounded(track),
                "level": level,
                "camera": where,
            }
        number += 1


def rounded(track):
    """A track for JSON, to a hundredth of a tile."""
    return json.loads(json.dumps(vars(track)), parse_float=lambda text: round(float(text), 2))


class ClipWriter:
    """Writes equal-length clips through one ffmpeg process, which starts a new file every FRAMES frames."""

    def __init__(self, folder):
        command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{PIXELS}x{PIXELS}", "-r", str(FRAMES_PER_SECOND), "-i", "-"]
        command += ["-c:v", "libx264rgb", "-qp", "0", "-preset", "veryfast"]
        command += ["-threads", "1", "-bf", "0", "-g", str(FRAMES), "-keyint_min", str(FRAMES), "-sc_threshold", "0"]
        command += ["-f", "segment", "-segment_time", str(FRAMES / FRAMES_PER_SECOND), "-reset_timestamps", "1"]
        self.process = subprocess.Popen([*command, os.path.join(folder, "%05d.mp4")], stdin=subprocess.PIPE)

    def write(self, frames):
        self.process.stdin.write(frames.tobytes())

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("ffmpeg failed; the message above says why")


def write_sentences(path, captions):
    """Every sentence once, the most frequent first."""
    with open(path, "w") as file:
        file.writelines(f"{caption}\n" for caption, _ in collections.Counter(captions).most_common())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-o", "--output", default=os.path.join(HERE, "data"), help="folder to write (default: data)")
    parser.add_argument("--train", type=int, default=5000, help="training clips (default: 5000)")
    parser.add_argument("--validation", type=int, default=500, help="clips of other levels (default: 500)")
    parser.add_argument("--heldout", type=int, default=200, help="clips of other levels and sentences (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("make_dataset.py needs the ffmpeg command, which was not found")

    folder = os.path.join(arguments.output, "clips")
    os.makedirs(folder, exist_ok=True)
    counts = {"train": arguments.train, "validation": arguments.validation, "heldout": arguments.heldout}
    writer, lines = ClipWriter(folder), []
    for place, (split, count) in enumerate(counts.items()):
        for frames, facts in clips(split, place, count, arguments.seed):
            writer.write(frames)
            lines.append({"file": f"clips/{len(lines):05d}.mp4", **facts})
            if len(lines) % 250 == 0:
                print(f"{len(lines)} of {sum(counts.values())} clips", file=sys.stderr)
    writer.close()

    # The manifest comes last and at once: a folder with a manifest is a complete set.
    partial = os.path.join(arguments.output, ".manifest.jsonl.partial")
    with open(partial, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    os.replace(partial, os.path.join(arguments.output, "manifest.jsonl"))
    seen = [line["caption"] for line in lines if line["split"] == "train"]
    write_sentences(os.path.join(arguments.output, "prompts.txt"), seen)
    unseen = [line["caption"] for line in lines if line["split"] == "heldout"]
    write_sentences(os.path.join(arguments.output, "held-out.txt"), unseen)
    print(f"wrote {len(lines)} clips with {len(set(seen))} sentences, and manifest.jsonl, under {arguments.output}")


if __name__ == "__main__":
    main()
