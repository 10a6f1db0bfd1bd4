#!/usr/bin/env python3
"""Reads CoinRun clips from their pixels alone and says whether each one shows what its caption tells.

    python3 score.py --manifest generated/manifest.jsonl
    python3 score.py --manifest data/manifest.jsonl --split validation     # is the reader right? real clips are
    python3 score.py --manifest generated/manifest.jsonl --shuffle         # what chance would score

The manifest has a line per clip: `file` (relative to the manifest) and `caption` or `prompt`. A clip is a video or GIF,
read with the ffmpeg command. What is read per clip:

    agent     the place where most pixels look like the agent, to a part of a pixel, frame by frame
    enemies   green places, frame by frame; coin: gold ones
    world     every cell of 12 x 12 is named by its two mean colours, upper and lower half, in the median of the frames

From these follow the clauses that would tell the clip (sentences.py: the same code that wrote the captions from the
game's own state). Scores per clip:

    exact     the clauses read are those of the caption, in the same order
    happens   every event of the caption is read, whatever else is
    agent     there is an agent in every frame but for those after a death
    world     no cell but those around agent, enemies and coin changes by more than STILL from frame to frame

and over all clips, per event, precision, recall and F1 (`--json` has them; so has the table that is printed).
Needs numpy, and ffmpeg for videos.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np

import sentences
from sentences import Track

VIEW = 12  # tiles along each side of a picture
PIXELS = 64
SCALE = VIEW / PIXELS  # tiles a pixel
STILL = 0.2  # mean change of a cell's colour, pixels in 0...1
AGENT_LEAST = 14.5  # pixels that look like the agent
COIN_LEAST = 4  # pixels of gold
FOOT_BELOW_MIDDLE = 0.62  # tiles from the middle of these pixels to its feet

STRICTNESS = 1.3  # captions stay the same from 0.75 to 1.35; what is read too far by a frame then matters least
COLUMNS = ("exact", "happens", "agent", "world")

# Mean colours of the upper and lower half of cells.
CELLS = {
    "air": (0, 0, 0, 0, 0, 0),
    "wall": (181, 195, 196, 181, 195, 196),
    "top": (169, 156, 137, 181, 195, 196),
    "crate": (151, 103, 57, 158, 108, 60),
    "saw": (3, 3, 2, 93, 101, 98),
    "trail": (13, 11, 9, 98, 91, 81),  # what enemies leave behind them
    "enemy's side": (13, 14, 5, 92, 101, 29),
    "lava": (229, 108, 27, 229, 108, 27),
    "lava top": (60, 28, 7, 229, 108, 27),
    "coin": (61, 52, 14, 79, 65, 19),
    "enemy": (44, 64, 12, 132, 181, 36),
    "agent": (133, 130, 122, 157, 151, 136),
}


def read_clip(path):
    """Frames `[time, PIXELS, PIXELS, 3]` of f32 in 0...255 of anything ffmpeg can open; other sizes are resampled."""
    command = ["ffmpeg", "-loglevel", "error", "-threads", "1", "-i", path]
    command += ["-vf", f"scale={PIXELS}:{PIXELS}:flags=area", "-fps_mode", "passthrough"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ValueError(done.stderr.decode(errors="replace").strip() or "ffmpeg failed")
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, PIXELS, PIXELS, 3).astype(np.float32)
    if len(frames) < 2:
        raise ValueError("expected two or more frames")
    return frames


def box_sums(picture, height, width):
    """Sums over all boxes of a picture `[y, x]`, each at its upper left corner."""
    sums = np.pad(picture, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]


def agent_likeness(frames, enemies):
    """How much each pixel looks like the agent, 0...1: beige, or brighter in blue than its place is at other times."""
    red, green, blue = np.moveaxis(frames, -1, 0)
    beige = np.clip((blue - 60) / 60, 0, 1) * np.clip((red - blue - 5) / 10, 0, 1) * (red >= green) * (red - blue < 90)
    brighter = np.clip((blue - np.sort(blue, 0)[1] - 25) / 60, 0, 1)
    for time, places in enumerate(enemies):
        for x, y in places:  # what enemies leave behind is bright, too
            brighter[time][box(x, y, 2.0, 0.7)] = 0
    return np.maximum(beige, brighter)


def box(x, y, wide, high):
    """The pixels around a place, so many tiles to each side."""
    edges = (VIEW - y - high, VIEW - y + high, x - wide, x + wide)
    top, bottom, left, right = (max(round(edge / SCALE), 0) for edge in edges)
    return slice(top, bottom), slice(left, right)


def find_agent(likeness):
    """(x of the middle, y of the feet) in tiles, or None: where most pixels of a frame look like the agent."""
    sums = box_sums(likeness, 8, 5)
    y, x = np.unravel_index(sums.argmax(), sums.shape)
    if sums[y, x] < AGENT_LEAST:
        return None
    low_y, low_x = max(y - 1, 0), max(x - 1, 0)
    near = likeness[low_y : y + 9, low_x : x + 6]
    rows, columns = near.sum(1), near.sum(0)
    middle_x = low_x + (columns * (np.arange(len(columns)) + 0.5)).sum() / near.sum()
    middle_y = low_y + (rows * (np.arange(len(rows)) + 0.5)).sum() / near.sum()
    return middle_x * SCALE, VIEW - middle_y * SCALE - FOOT_BELOW_MIDDLE


def find_agents(frames, enemies):
    """Where the agent is in every frame, or None."""
    return [find_agent(likeness) for likeness in agent_likeness(frames, enemies)]


def find_enemies(frame):
    """Middles of the green things; a wide green place is as many side by side as it has room for."""
    red, green, blue = frame[..., 0], frame[..., 1], frame[..., 2]
    mask = (green > 90) & (green - red > 25) & (green - blue > 60)
    found = []
    for top in range(0, PIXELS, 4):
        rows = mask[top : top + 4]
        above = mask[max(top - 4, 0) : top]
        if not rows.any() or (above.sum() > rows.sum()):
            continue
        columns = np.flatnonzero(mask[top : top + 8].sum(0) >= 2)
        for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
            if len(run) < 3:
                continue
            heights = np.flatnonzero(mask[max(top - 4, 0) : top + 8, run].any(1)) + max(top - 4, 0)
            count = max(1, round(len(run) * SCALE))
            for place in range(count):
                x = (run[0] + (place + 0.5) * len(run) / count) * SCALE
                found.append((x, VIEW - (heights.mean() + 0.5) * SCALE))
    return [
        thing for place, thing in enumerate(found)
        if not any(abs(thing[0] - other[0]) < 0.5 and abs(thing[1] - other[1]) < 1 for other in found[:place])
    ]  # fmt: skip


def cell_colours(frames):
    """Mean colours of the halves of cells, `[..., VIEW, VIEW, 6]`."""
    *times, _, _, _ = frames.shape
    large = frames.repeat(3, -3).repeat(3, -2)  # 16 pixels a cell
    halves = large.reshape(*times, VIEW, 2, 8, VIEW, 16, 3).mean((-4, -2))
    return np.moveaxis(halves, -3, -2).reshape(*times, VIEW, VIEW, 6)


def name_cells(frame):
    """The names of a picture's cells, `[VIEW, VIEW]`, upper row first."""
    names, colours = list(CELLS), np.array(list(CELLS.values()), np.float32)
    distance = ((cell_colours(frame)[..., None, :] - colours) ** 2).sum(-1)
    return np.array(names, dtype=object)[distance.argmin(-1)]


def middles(names, *wanted):
    """Middles of the cells with some names, in tiles from the lower left corner."""
    return [(x + 0.5, VIEW - y - 0.5) for y, x in np.argwhere(np.isin(names, wanted))]


def without(frames, agent, enemies):
    """The picture behind agent and enemies: the median of the frames, each without what is near them."""
    hidden = frames.copy()
    for time, frame in enumerate(hidden):
        for x, y in enemies[time]:
            frame[box(x, y, 1.8, 0.7)] = np.nan
        if agent[time]:
            frame[box(agent[time][0], agent[time][1] + 0.8, 0.8, 1.0)] = np.nan
    never = np.isnan(hidden).all(0)
    hidden[:, never] = frames[:, never]
    return np.nanmedian(hidden, 0)


def read_track(frames):
    """The track of a clip, from its pixels. Where the agent is lost for a while, it is taken to stay where it was."""
    enemies = [find_enemies(frame) for frame in frames]
    agent = find_agents(frames, enemies)
    there = [time for time, place in enumerate(agent) if place is not None]
    gone = there[-1] + 1 if there else 0
    if there:
        agent[: there[0]] = [agent[there[0]]] * there[0]
    for time in range(1, gone):
        agent[time] = agent[time] or agent[time - 1]
    names = name_cells(without(frames, agent, enemies))

    red, green, blue = np.moveaxis(frames, -1, 0)
    gold = (red > 90) & (blue < 50) & (green > 0.74 * red) & (green < 0.92 * red)
    seen = [bool(box_sums(frame, 4, 4).max() >= COIN_LEAST) for frame in gold.astype(np.int32)]
    last = max((time for time, here in enumerate(seen) if here), default=-1)
    if -1 < last < gone - 1:  # the agent may hide the coin before it takes it, and stays where it took it
        last = max(time for time in range(last, gone) if time == last or apart(agent[time], agent[time - 1]) > 0.1)
    return Track(
        agent=agent,
        coin=[time <= last for time in range(len(frames))],
        crates=middles(names, "crate"),
        saws=middles(names, "saw"),
        lava=middles(names, "lava", "lava top"),
        enemies=enemies,
    )


def apart(one, other):
    """How far two places are from each other along the farther axis."""
    return max(abs(one[0] - other[0]), abs(one[1] - other[1]))


def world_is_still(frames, track):
    """Whether nothing changes but near the agent, the enemies and the coin."""
    colours = cell_colours(frames) / 255
    changes = np.abs(colours[1:] - colours[:-1]).reshape(len(frames) - 1, VIEW, VIEW, 6).mean(-1)
    for time, picture in enumerate(changes):
        for near in (time, time + 1):
            for x, y in [*track.enemies[near], *([track.agent[near]] if track.agent[near] else [])]:
                row, column = int(VIEW - y - 0.6), int(x)
                picture[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 0
    if track.coin[0] and not track.coin[-1]:
        changes[track.coin.index(False) - 1] = 0
    return bool(changes.max() < STILL)


def judge(frames, expected):
    """Everything for one clip; `expected` are the clauses of its caption."""
    track = read_track(frames)
    present = [place is not None for place in find_agents(frames, track.enemies)]
    found = sentences.clauses(track, STRICTNESS) if any(present) else []
    died = bool(found) and found[-1] in sentences.DEATH.values()
    result = {
        "exact": found == expected,
        "agent": present[0] and (all(present) or (died and present == sorted(present, reverse=True))),
        "world": world_is_still(frames, track),
        "asked": sentences.events(expected),
        "read": sentences.events(found),
        "clauses": found,
    }
    result["happens"] = set(result["asked"]) <= set(result["read"])
    return result


def score_manifest(path, split=None, limit=None, shuffle=False, clips=None):
    """One result per clip of a manifest: its facts and scores, or an `error`; `clips`: a manifest with other files."""
    with open(path) as file:
        entries = [json.loads(line) for line in file if line.strip()]
    entries = [entry for entry in entries if split is None or entry.get("split") == split][:limit]
    captions = [entry.get("caption") or entry.get("prompt") or "" for entry in entries]
    if clips is not None:
        with open(clips) as file:
            names = [json.loads(line)["file"] for line in file if line.strip()]
        path, entries = clips, [{**entry, "file": name} for entry, name in zip(entries, names)]
        captions = captions[: len(entries)]
    if shuffle:
        half = len(captions) // 2
        captions = captions[half:] + captions[:half]
    results = []
    for entry, caption in zip(entries, captions):
        result = {"file": entry.get("file"), "caption": caption, "seed": entry.get("seed")}
        expected = sentences.parse(caption)
        try:
            if expected is None:
                raise ValueError(f"caption {caption!r} is no sentence of this sample, such as 'the agent stands still'")
            result["sentence"] = "heldout" if sentences.held_out(expected) else "seen"
            frames = read_clip(os.path.join(os.path.dirname(os.path.abspath(path)), entry["file"]))
            result.update(judge(frames, expected))
        except (KeyError, ValueError, OSError) as problem:
            result["error"] = str(problem)
        results.append(result)
    return results


def wilson(successes, count, z=1.959964):
    """The 95 % interval of a share by Wilson's score (1927)."""
    if not count:
        return float("nan"), float("nan")
    share = successes / count
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, center - spread), min(1.0, center + spread)


def clip_rows(results):
    """The shares of clips in which each column holds, for all, seen and held-out sentences; unreadable ones fail."""
    groups = [("all clips", results)]
    groups += [(f"{kind} sentences", [r for r in results if r.get("sentence") == kind]) for kind in ("seen", "heldout")]
    rows = []
    for name, members in groups:
        if members:
            counts = {column: sum(bool(member.get(column)) for member in members) for column in COLUMNS}
            row = {"group": name, "clips": len(members), **{c: round(n / len(members), 4) for c, n in counts.items()}}
            rows.append({**row, "exact_95": [round(end, 4) for end in wilson(counts["exact"], len(members))]})
    return rows


def event_rows(results):
    """Precision, recall and F1 of each event over clips, and of all events together."""
    rows = []
    for event in (*sentences.EVENTS, None):
        asked = read = both = 0
        for result in results:
            wanted = {e for e in result.get("asked", ()) if event in (None, e)}
            found = {e for e in result.get("read", ()) if event in (None, e)}
            asked, read, both = asked + len(wanted), read + len(found), both + len(wanted & found)
        rows.append({
            "event": event or "all events", "asked": asked, "read": read,
            "precision": round(both / read, 4) if read else None,
            "recall": round(both / asked, 4) if asked else None,
            "f1": round(2 * both / (asked + read), 4) if asked + read else None,
        })  # fmt: skip
    return rows


def percent(share):
    """A share for the table."""
    return "       -" if share is None else f"{100 * share:7.1f}%"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--manifest", required=True, help="JSON lines with file and caption (or prompt)")
    parser.add_argument("--split", help="only the clips of this split")
    parser.add_argument("--limit", type=int, help="only the first N clips")
    parser.add_argument("--clips", metavar="MANIFEST", help="judge this one's files instead, in the same order")
    parser.add_argument("--shuffle", action="store_true", help="judge by other clips' captions: what chance scores")
    parser.add_argument("--json", metavar="FILE", help="write the tables and a result per clip")
    arguments = parser.parse_args()

    results = score_manifest(arguments.manifest, arguments.split, arguments.limit, arguments.shuffle, arguments.clips)
    if not results:
        sys.exit("no clips to score in this manifest")
    clips, events = clip_rows(results), event_rows(results)
    print(f"{'':20}{'clips':>6}" + "".join(f"{column:>9}" for column in COLUMNS) + "   exact, 95 %")
    for row in clips:
        low, high = (100 * end for end in row["exact_95"])
        shares = "".join(f" {percent(row[column])}" for column in COLUMNS)
        print(f"{row['group']:20}{row['clips']:6}{shares}{low:7.1f} -{high:6.1f}%")
    print(f"\n{'event':24}{'asked':>6}{'read':>6}{'precision':>11}{'recall':>9}{'F1':>9}")
    for row in events:
        shares = f"   {percent(row['precision'])} {percent(row['recall'])} {percent(row['f1'])}"
        print(f"{row['event']:24}{row['asked']:6}{row['read']:6}{shares}")
    errors = [result for result in results if "error" in result]
    for result in errors[:10]:
        print(f"{result['file']}: {result['error']}", file=sys.stderr)
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"clips": clips, "events": events, "unreadable": len(errors), "results": results}, file, indent=1)
            file.write("\n")
    sys.exit(2 if errors else 0)


if __name__ == "__main__":
    main()
