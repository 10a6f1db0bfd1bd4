#!/usr/bin/env python3
"""Reads BabyAI clips back, cell by cell, and says whether each one did what its caption asks.

    python3 score.py --manifest generated/manifest.jsonl
    python3 score.py --manifest data/manifest.jsonl --split validation --json report.json

The manifest has a line per clip: `file` (relative to the manifest) and `caption` or `prompt`. A clip is a video or GIF
(read with the ffmpeg command), a folder of PNG files, a `.npy` array or a `.safetensors` file with one tensor; arrays are
frames as `[time, height, width, 3]` or `[3, time, height, width]`, u8 in 0...255 or float in 0...1.

Every cell of every frame is named after the nearest picture in tiles.npz. From the names follow, per clip:

    agent     exactly one agent in every frame
    walls     the outer ring is wall in every frame, and nothing else is
    start     the object that the caption names is there in frame 0, exactly once
    moves     from frame to frame the agent turns by a quarter, goes one cell ahead, or stays
    objects   nothing appears, moves or vanishes, except what the caption asks to pick up
    mission   go to: at the end the agent faces the object from the next cell;
              pick up: the object vanished while the agent faced it from the next cell, and stays away
    clear     no cell is further than CLEAR_DISTANCE from its picture

`mission` alone is the answer to "did it do what was asked", and beside it stands the 95 % interval of that share
(Wilson), `mission_95` in JSON; clips of one prompt count as if they were independent. `all` asks for every column but `clear` at once.
Needs numpy, and ffmpeg for videos and PNG files.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np

import missions
from missions import COLORS, GRID, KINDS, TILE

HERE = os.path.dirname(os.path.abspath(__file__))
SIDE = GRID * TILE
CLEAR_DISTANCE = 0.09  # root mean square over a cell, pixels in 0...1; the most similar pictures are 0.095 apart
AHEAD = {"right": (1, 0), "down": (0, 1), "left": (-1, 0), "up": (0, -1)}
DIRECTIONS = tuple(AHEAD)
COLUMNS = ("agent", "walls", "start", "moves", "objects", "mission", "clear")


def read_with_ffmpeg(source):
    """Frames `[time, SIDE, SIDE, 3]` u8 of anything ffmpeg can open; other sizes are resampled."""
    command = ["ffmpeg", "-loglevel", "error", *source, "-vf", f"scale={SIDE}:{SIDE}:flags=area", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.decode(errors="replace").strip() or "ffmpeg failed")
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, SIDE, SIDE, 3)


def read_safetensors(path):
    """The only tensor of a safetensors file."""
    types = {"U8": "u1", "F32": "<f4", "F16": "<f2", "F64": "<f8"}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        body = file.read()
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    if len(tensors) != 1 or tensors[0]["dtype"] not in types:
        raise ValueError("expected one tensor of type U8, F16, F32 or F64")
    begin, end = tensors[0]["data_offsets"]
    return np.frombuffer(body[begin:end], types[tensors[0]["dtype"]]).reshape(tensors[0]["shape"])


def as_frames(array):
    """An array as frames `[time, SIDE, SIDE, 3]` of f32 in 0...1."""
    if array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 4 and array.shape[-1] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 3, 0)
    elif array.ndim == 4 and array.shape[-1] != 3 and array.shape[1] == 3:
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[1:] != (SIDE, SIDE, 3) or len(array) < 2:
        raise ValueError(f"expected two or more frames of {SIDE}x{SIDE} RGB, found shape {array.shape}")
    scale = 255.0 if array.dtype == np.uint8 else 1.0
    return np.clip(array.astype(np.float32) / scale, 0, 1)


def read_clip(path):
    """The frames of one clip in any of the accepted forms."""
    if os.path.isdir(path):
        return as_frames(read_with_ffmpeg(["-pattern_type", "glob", "-i", os.path.join(path, "*.png")]))
    if path.endswith(".npy"):
        return as_frames(np.load(path, allow_pickle=False))
    if path.endswith(".safetensors"):
        return as_frames(read_safetensors(path))
    return as_frames(read_with_ffmpeg(["-i", path]))


class Reader:
    """Names the cells of frames.

    Ordinary videos keep colour at half the resolution. Cells and pictures are therefore compared as full-resolution
    brightness and colour averaged over 2x2 pixels, which such a video leaves nearly as they were.
    """

    def __init__(self, path=os.path.join(HERE, "tiles.npz")):
        stored = np.load(path, allow_pickle=False)
        self.names = [str(name) for name in stored["names"]]
        self.pictures = self.features(stored["pixels"].astype(np.float32) / 255)

    @staticmethod
    def features(cells):
        """Cells `[count, TILE, TILE, 3]` as rows whose squared distance is three times the mean over the pixels."""
        brightness = cells @ np.array([0.299, 0.587, 0.114], np.float32)
        colour = cells - brightness[..., None]
        half = TILE // 2
        colour = colour.reshape(-1, half, 2, half, 2, 3).mean((2, 4))
        # Brightness counts once per channel, an averaged colour once per pixel it stands for.
        parts = [brightness.reshape(len(cells), -1) * 3**0.5, colour.reshape(len(cells), -1) * 2]
        return np.concatenate(parts, 1) / TILE

    def read(self, frames):
        """Names `[time][y][x]`, and each cell's distance from its picture `[time, GRID, GRID]`."""
        cells = frames.reshape(len(frames), GRID, TILE, GRID, TILE, 3).transpose(0, 1, 3, 2, 4, 5)
        cells = self.features(cells.reshape(-1, TILE, TILE, 3))
        squares = (cells**2).sum(1)[:, None] - 2 * cells @ self.pictures.T + (self.pictures**2).sum(1)
        nearest = squares.argmin(1)
        distance = np.sqrt(np.maximum(squares.min(1), 0) / 3)
        shape = (len(frames), GRID, GRID)
        return np.array(self.names, dtype=object)[nearest].reshape(shape), distance.reshape(shape)


def agents_in(names):
    """All agents of one frame as (x, y, direction)."""
    return [
        (x, y, names[y, x].split()[1]) for y in range(GRID) for x in range(GRID) if names[y, x].startswith("agent ")
    ]


def things_in(names):
    """The objects of one frame as {(x, y): "red ball"}."""
    return {
        (x, y): names[y, x] for y in range(GRID) for x in range(GRID) if names[y, x].split()[-1] in KINDS
    }


def faces(agent, cell):
    """Whether the agent stands next to the cell and looks at it."""
    x, y, direction = agent
    return (x + AHEAD[direction][0], y + AHEAD[direction][1]) == cell


def legal_step(before, after):
    """Whether one action leads from one agent to the other: stay, a quarter turn, or a cell ahead."""
    if before[:2] == after[:2]:
        turn = (DIRECTIONS.index(after[2]) - DIRECTIONS.index(before[2])) % 4
        return turn != 2
    return before[2] == after[2] and faces(before, after[:2])


def judge(names, distance, mission):
    """Every column for one clip; `names` is `[time, GRID, GRID]`, `mission` is (verb, colour, kind)."""
    verb, color, kind = mission
    target = f"{color} {kind}"
    agents = [agents_in(frame) for frame in names]
    things = [things_in(frame) for frame in names]
    ring = np.ones((GRID, GRID), bool)
    ring[1:-1, 1:-1] = False

    result = {
        "agent": all(len(found) == 1 for found in agents),
        "walls": bool(((names == "wall") == ring).all()),
        "start": list(things[0].values()).count(target) == 1,
        "clear": bool(distance.max() <= CLEAR_DISTANCE),
    }
    result["moves"] = result["agent"] and all(legal_step(a[0], b[0]) for a, b in zip(agents, agents[1:]))

    cell = next((where for where, name in things[0].items() if name == target), None)
    may_vanish = cell if verb == "pick up" else None
    kept = [{where: name for where, name in frame.items() if where != may_vanish} for frame in things]
    result["objects"] = all(frame == kept[0] for frame in kept)

    reached = False
    if result["start"]:
        present = [frame.get(cell) == target for frame in things]
        if verb == "go to":
            reached = present[-1] and len(agents[-1]) == 1 and faces(agents[-1][0], cell)
        elif not present[-1]:
            first = present.index(False)  # at least 1, as the object is there in frame 0
            around = agents[first - 1] + agents[first]
            gone_for_good = all(cell not in frame for frame in things[first:])
            reached = gone_for_good and len(around) == 2 and all(faces(agent, cell) for agent in around)
    result["mission"] = bool(reached)
    result["all"] = all(result[column] for column in COLUMNS if column != "clear")
    return result


def score_manifest(path, split=None, limit=None):
    """One result per clip of a manifest: its facts, its columns, or an `error`."""
    reader = Reader()
    results = []
    with open(path) as file:
        entries = [json.loads(line) for line in file if line.strip()]
    entries = [entry for entry in entries if split is None or entry.get("split") == split][:limit]
    for entry in entries:
        text = entry.get("caption") or entry.get("prompt") or ""
        found = {"file": entry.get("file"), "caption": text, "seed": entry.get("seed"), "sample": entry.get("sample")}
        mission = missions.parse(text)
        found["sentence"] = None if mission is None else "heldout" if mission in missions.HELD_OUT else "seen"
        try:
            if mission is None:
                raise ValueError(f"caption {text!r} is no sentence of this sample, such as 'go to the red ball'")
            frames = read_clip(os.path.join(os.path.dirname(os.path.abspath(path)), entry["file"]))
            names, distance = reader.read(frames)
            found.update(judge(names, distance, mission), distance=round(float(distance.mean()), 5))
        except (KeyError, ValueError, OSError) as problem:
            found["error"] = str(problem)
        results.append(found)
    return results


def share(results, column):
    """The share of results in which a column holds; what could not be read counts as failed."""
    return sum(bool(result.get(column)) for result in results) / len(results) if results else float("nan")


def wilson(successes, count, z=1.959964):
    """The 95 % interval of a share by Wilson's score (1927): sensible near 0 and 1 and for few clips, within 0...1."""
    if not count:
        return float("nan"), float("nan")
    share_found = successes / count
    center = (share_found + z * z / (2 * count)) / (1 + z * z / count)
    spread = z / (1 + z * z / count) * (share_found * (1 - share_found) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, center - spread), min(1.0, center + spread)


def groups(results):
    """The rows of the table: everything, seen and held-out sentences, and each verb, colour and kind."""
    rows = [("all clips", results)]
    for kind in ("seen", "heldout"):
        rows.append((f"{kind} sentences", [result for result in results if result["sentence"] == kind]))
    for word in (*missions.VERBS, *COLORS, *KINDS):
        rows.append((word, [result for result in results if word in result["caption"]]))
    return [(name, members) for name, members in rows if members]


def table_row(name, members, shown):
    """A group's shares, and the interval that the share of fulfilled missions lies in with 95 % confidence."""
    fulfilled = sum(bool(member.get("mission")) for member in members)
    interval = [round(end, 4) for end in wilson(fulfilled, len(members))]
    shares = {column: round(share(members, column), 4) for column in shown}
    return {"group": name, "clips": len(members), **shares, "mission_95": interval}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--manifest", required=True, help="JSON lines with file and caption (or prompt)")
    parser.add_argument("--split", help="only the clips of this split")
    parser.add_argument("--limit", type=int, help="only the first N clips")
    parser.add_argument("--json", metavar="FILE", help="write the table and a result per clip; - for standard output")
    arguments = parser.parse_args()

    results = score_manifest(arguments.manifest, arguments.split, arguments.limit)
    if not results:
        sys.exit("no clips to score in this manifest")
    shown = ("all", "mission", "agent", "walls", "start", "moves", "objects", "clear")
    table = [table_row(name, members, shown) for name, members in groups(results)]
    out = sys.stderr if arguments.json == "-" else sys.stdout
    print(f"{'':18}{'clips':>6}" + "".join(f"{column:>9}" for column in shown) + "   mission, 95 %", file=out)
    for row in table:
        shares = "".join(f"{100 * row[column]:8.1f}%" for column in shown)
        low, high = (100 * end for end in row["mission_95"])
        print(f"{row['group']:18}{row['clips']:6}{shares}{low:7.1f} -{high:6.1f}%", file=out)
    errors = [result for result in results if "error" in result]
    for result in errors[:10]:
        print(f"{result['file']}: {result['error']}", file=sys.stderr)
    if arguments.json:
        verdicts = [{"name": f"mission, {row['group']}", "value": row["mission"], "count": row["clips"],
                     "higher_is_better": True} for row in table]
        text = json.dumps({"results": verdicts, "table": table, "unreadable": len(errors), "clips": results}, indent=1)
        if arguments.json == "-":
            print(text)
        else:
            with open(arguments.json, "w") as file:
                file.write(text + "\n")
    sys.exit(2 if errors else 0)


if __name__ == "__main__":
    main()
