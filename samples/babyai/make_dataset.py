#!/usr/bin/env python3
"""Makes a captioned video set: BabyAI missions in one room, carried out by BabyAI's own expert.

    pip install minigrid
    python3 make_dataset.py            # 12,000 training clips and 400 others under data/

A clip is 16 frames of 96x96 pixels at 8 frames a second. Frame 0 is the start, every further frame follows one action,
and after the mission's end the last frame repeats. Clips are stored without loss (H.264, RGB, quantizer 0), because a
reconstruction can be judged no better than its ground truth. The same --seed gives the same set.

Written: `clips/NNNNN.mp4`, `manifest.jsonl` (a line per clip: file, caption, split, mission, objects, agent, route: its
places [x, y, direction] from the first frame to the mission's end, steps, seed) and `prompts.txt` (every sentence once, the
held-out ones last).
Splits: `train`; `validation` (other layouts, same sentences); `heldout` (sentences that training never sees).

Needs: minigrid (MIT licence), numpy, and the ffmpeg command.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Key, Wall
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel
from minigrid.envs.babyai.core.verifier import GoToInstr, ObjDesc, PickupInstr
from minigrid.utils.baby_ai_bot import BabyAIBot

import missions
from missions import COLORS, FRAMES, FRAMES_PER_SECOND, GRID, KINDS, TILE

SEED_STRIDE = 1_000_000  # seeds of different splits never meet
HERE = os.path.dirname(os.path.abspath(__file__))


class OneRoom(RoomGridLevel):
    """One walled room with the mission's target and up to three other objects, the target being the only one of its looks."""

    def __init__(self, mission, distractors):
        self.mission_parts = mission
        self.distractors = distractors
        super().__init__(room_size=GRID, num_rows=1, num_cols=1, max_steps=FRAMES * 4)

    def gen_mission(self):
        verb, color, kind = self.mission_parts
        self.place_agent(0, 0)
        self.add_object(0, 0, kind, color)
        for other_kind, other_color in self.distractors:
            self.add_object(0, 0, other_kind, other_color)
        description = ObjDesc(kind, color)
        self.instrs = GoToInstr(description) if verb == "go to" else PickupInstr(description)


def render_cell(thing, direction=None):
    """One cell as `[TILE, TILE, 3]` u8: drawn at eight times the size and averaged, so that small shapes stay distinct."""
    cell = Grid.render_tile(thing, agent_dir=direction, highlight=False, tile_size=TILE, subdivs=8)
    return cell.astype(np.uint8)


def render(env):
    """The whole world as `[GRID * TILE, GRID * TILE, 3]` u8."""
    frame = np.zeros((GRID * TILE, GRID * TILE, 3), np.uint8)
    for y in range(GRID):
        for x in range(GRID):
            here = (x, y) == tuple(env.agent_pos)
            cell = render_cell(env.grid.get(x, y), int(env.agent_dir) if here else None)
            frame[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = cell
    return frame


def objects_of(env):
    """The objects lying in the room, row by row."""
    found = []
    for y in range(GRID):
        for x in range(GRID):
            thing = env.grid.get(x, y)
            if thing is not None and thing.type in KINDS:
                found.append({"type": thing.type, "color": thing.color, "x": x, "y": y})
    return found


def place_of(env):
    """Where the agent stands and looks: [x, y, direction]."""
    return [int(env.agent_pos[0]), int(env.agent_pos[1]), int(env.agent_dir)]


def play(mission, seed):
    """One mission from one seed: (frames `[FRAMES, height, width, 3]`, facts), or None if it does not fit into a clip."""
    choose = random.Random(seed)
    _, color, kind = mission
    others = [(k, c) for k in KINDS for c in COLORS if (k, c) != (kind, color)]
    env = OneRoom(mission, [choose.choice(others) for _ in range(choose.randint(0, 3))])
    env.reset(seed=seed)
    bot = BabyAIBot(env)

    route = [place_of(env)]
    facts = {"objects": objects_of(env), "agent": dict(zip(("x", "y", "direction"), route[0])), "route": route}
    frames = [render(env)]
    action = None
    for _ in range(FRAMES - 1):
        action = bot.replan(action)
        if action == env.actions.done:
            return None  # began at its end: nothing to see
        _, reward, terminated, _, _ = env.step(action)
        frames.append(render(env))
        route.append(place_of(env))
        if terminated:
            break
        if env.carrying is not None:
            return None  # the expert cleared something out of its way first
    else:
        return None
    if reward <= 0 or len(frames) < 3:
        return None
    facts["steps"] = len(frames) - 1
    frames += [frames[-1]] * (FRAMES - len(frames))
    return np.stack(frames), facts


def clips(split, sentences, count, first_seed):
    """Yields `count` clips, taking seeds in order and sentences in turn."""
    seed, made = first_seed, 0
    while made < count:
        mission = sentences[made % len(sentences)]
        played = play(mission, seed)
        if played is not None:
            frames, facts = played
            verb, color, kind = mission
            yield frames, {
                "caption": missions.sentence(mission),
                "split": split,
                "mission": {"verb": verb, "color": color, "type": kind},
                **facts,
                "seed": seed,
            }
            made += 1
        seed += 1


class ClipWriter:
    """Writes equal-length clips through one ffmpeg process, which starts a new file every FRAMES frames."""

    def __init__(self, folder, first, codec):
        self.extension = "mp4" if codec == "h264" else "mkv"
        quality = ["-c:v", "libx264rgb", "-qp", "0", "-preset", "veryfast"] if codec == "h264" else ["-c:v", "ffv1"]
        size = GRID * TILE
        command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size}x{size}"]
        command += ["-r", str(FRAMES_PER_SECOND), "-i", "-", *quality, "-threads", "1", "-bf", "0"]
        command += ["-g", str(FRAMES), "-keyint_min", str(FRAMES), "-sc_threshold", "0"]
        command += ["-f", "segment", "-segment_time", str(FRAMES / FRAMES_PER_SECOND), "-segment_start_number", str(first)]
        command += ["-reset_timestamps", "1", os.path.join(folder, f"%05d.{self.extension}")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def write(self, frames):
        self.process.stdin.write(frames.tobytes())

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            sys.exit("ffmpeg failed; the message above says why")


def write_tiles(path):
    """Writes the picture of every kind of cell, which score.py compares frames with."""
    pictures = {"floor": render_cell(None), "wall": render_cell(Wall())}
    for direction, name in enumerate(("right", "down", "left", "up")):
        pictures[f"agent {name}"] = render_cell(None, direction)
    for make in (Ball, Box, Key):
        for color in COLORS:
            thing = make(color)
            pictures[f"{color} {thing.type}"] = render_cell(thing)
    np.savez_compressed(path, names=np.array(list(pictures)), pixels=np.stack(list(pictures.values())))


def write_prompts(path):
    """Every sentence once, the held-out ones last."""
    lines = [missions.sentence(mission) for mission in (*missions.seen_missions(), *missions.HELD_OUT)]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-o", "--output", default=os.path.join(HERE, "data"), help="folder to write (default: data)")
    parser.add_argument("--train", type=int, default=12000, help="training clips (default: 12000)")
    parser.add_argument("--validation", type=int, default=300, help="clips with seen sentences, new layouts (default: 300)")
    parser.add_argument("--heldout", type=int, default=100, help="clips with held-out sentences (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codec", choices=("h264", "ffv1"), default="h264", help="both are lossless (default: h264)")
    parser.add_argument("--tiles", action="store_true", help="only rewrite tiles.npz, the pictures score.py knows")
    arguments = parser.parse_args()
    if arguments.tiles:
        write_tiles(os.path.join(HERE, "tiles.npz"))
        return
    if shutil.which("ffmpeg") is None:
        sys.exit("make_dataset.py needs the ffmpeg command, which was not found")

    folder = os.path.join(arguments.output, "clips")
    os.makedirs(folder, exist_ok=True)
    base = arguments.seed * 10 * SEED_STRIDE
    parts = [
        ("train", missions.seen_missions(), arguments.train),
        ("validation", missions.seen_missions(), arguments.validation),
        ("heldout", list(missions.HELD_OUT), arguments.heldout),
    ]
    total = sum(count for _, _, count in parts)
    writer = ClipWriter(folder, 0, arguments.codec)
    lines = []
    for place, (split, sentences, count) in enumerate(parts):
        for frames, facts in clips(split, sentences, count, base + place * SEED_STRIDE):
            writer.write(frames)
            lines.append(json.dumps({"file": f"clips/{len(lines):05d}.{writer.extension}", **facts}))
            if len(lines) % 500 == 0:
                print(f"{len(lines)} of {total} clips", file=sys.stderr)
    writer.close()

    # The manifest comes last and at once: a folder with a manifest is a complete set.
    partial = os.path.join(arguments.output, ".manifest.jsonl.partial")
    with open(partial, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(partial, os.path.join(arguments.output, "manifest.jsonl"))
    write_prompts(os.path.join(arguments.output, "prompts.txt"))
    print(f"wrote {len(lines)} clips, manifest.jsonl and prompts.txt under {arguments.output}")


if __name__ == "__main__":
    main()
