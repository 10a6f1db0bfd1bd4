#!/usr/bin/env python3
"""Draws what the samples' README files show: the curves of training runs, and clips with their sentences.

    python3 pictures.py curves run-vqvae/metrics.jsonl run-gpt/metrics.jsonl -o curves.png
    python3 pictures.py grid generated/manifest.jsonl --count 8 -o samples.png

A grid has a row per clip, every second frame; `--spread` takes clips from all over the manifest. With `--beside` each
row is followed by the same clip of another manifest, such as its reconstruction.
Needs numpy, Pillow, for curves matplotlib, and the ffmpeg command.
"""

import argparse
import json
import os
import subprocess

import numpy as np
from PIL import Image, ImageDraw


def read_lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def smooth(values, reach=10):
    """Means over the last values: a curve that the eye can follow."""
    sums = np.concatenate([[0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - reach, 0)
    return (sums[ends] - sums[begins]) / (ends - begins)


MEASURES = {"psnr": "reconstruction, PSNR in dB", "codes_used": "share of codes used", "video": "GPT, nats per id"}


def draw_curves(paths, measures, output):
    """A panel for each run and measure: training as a line, held-out clips as points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    panels = []
    for path in paths:
        lines = read_lines(path)
        for key in measures:
            shown = [line for line in lines if key in line]
            kinds = {kind: [line for line in shown if line["kind"] == kind] for kind in ("train", "evaluation")}
            if any(kinds.values()):
                panels.append((os.path.basename(os.path.dirname(os.path.abspath(path))), key, kinds))
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 2.8), squeeze=False, dpi=90)
    for (name, key, kinds), axis in zip(panels, axes[0]):
        if kinds["train"]:
            steps = [line["step"] for line in kinds["train"]]
            values = smooth([line[key] for line in kinds["train"]])
            axis.plot(steps, values, color="#2a78b5", linewidth=1, label="training")
        steps, values = zip(*((line["step"], line[key]) for line in kinds["evaluation"]))
        axis.plot(steps, values, "o-", color="#c0562f", markersize=3, linewidth=1, label="held out")
        if key == "video":
            axis.set_yscale("log")
        axis.set_title(f"{name}: {MEASURES[key]}", fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(color="#e4e4e4")
        axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(output)


def read_frames(path):
    """All frames `[time, height, width, 3]` u8 of a clip."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height"]
    size = subprocess.run([*probe, "-of", "csv=p=0", path], stdout=subprocess.PIPE, check=True).stdout
    width, height = (int(value) for value in size.split(b",")[:2])
    command = ["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def draw_grid(manifests, count, spread, enlarge, output):
    """Rows of every second frame under their sentences."""
    clips = [read_lines(path) for path in manifests]
    step = max(1, len(clips[0]) // count) if spread else 1
    rows = []
    for place in range(0, step * count, step):
        for which, (path, lines) in enumerate(zip(manifests, clips)):
            entry = lines[place]
            frames = read_frames(os.path.join(os.path.dirname(os.path.abspath(path)), entry["file"]))[::2]
            framed = np.pad(frames, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=128)
            strip = Image.fromarray(np.concatenate(list(framed), 1))
            strip = strip.resize((strip.width * enlarge, strip.height * enlarge), Image.NEAREST)
            head = 0 if which else 14
            row = Image.new("RGB", (strip.width, strip.height + head), "white")
            row.paste(strip, (0, head))
            if head:
                ImageDraw.Draw(row).text((2, 1), entry.get("caption") or entry.get("prompt") or "", fill="black")
            rows.append(row)
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(output, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    curves = verbs.add_parser("curves", help="the curves of runs, from metrics.jsonl")
    curves.add_argument("metrics", nargs="+")
    curves.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    grid = verbs.add_parser("grid", help="clips of a manifest, a row each")
    grid.add_argument("manifest")
    grid.add_argument("--beside", help="a manifest with as many clips, shown below the first one's")
    grid.add_argument("--count", type=int, default=8, help="clips (default: 8)")
    grid.add_argument("--spread", action="store_true", help="from all over the manifest, not its first ones")
    grid.add_argument("--enlarge", type=int, default=1, help="pixels a side for each (default: 1)")
    for verb in (curves, grid):
        verb.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    if arguments.verb == "curves":
        draw_curves(arguments.metrics, arguments.measures, arguments.output)
    else:
        manifests = [arguments.manifest] + ([arguments.beside] if arguments.beside else [])
        draw_grid(manifests, arguments.count, arguments.spread, arguments.enlarge, arguments.output)


if __name__ == "__main__":
    main()
