#!/usr/bin/env python3
"""Makes three small labelled sets for one model: pictures, clips, and pictures with depth.

    python3 ../emoji/make_dataset.py -o emoji          # drawings of 1,300 emoji by two hands
    pip install numpy pillow
    python3 make_dataset.py --emoji emoji              # data/: manifest.jsonl, 64 x 64 pixels

image  emoji, told apart by their category (faces and people, flags, food, ...). Training has Noto's drawings and half of
       EmojiOne's; the other half is held out, so a known thing is drawn by a hand that has not drawn it before.
video  emoji that move in one of eight ways over eight frames: left and right, up and down, growing and shrinking, turning
       left and turning right. Backwards each is another, so no frame says which. Held-out clips show held-out drawings.
rgbd   solids on a floor before a wall, ray-traced with their true depth: ball, box, cone, cylinder, pyramid, ring. The floor
       is chequered, everything has any colour and pixels are noisy. Held-out pictures have other places, sizes and colours.

The same --seed gives the same set.
"""

import argparse
import json
import os

import numpy as np
from PIL import Image

SIZE = 64
FRAMES, RATE = 8, 10
FOCAL = 70.0  # pixels
MOTIONS = ["down", "growing", "left", "right", "shrinking", "turning left", "turning right", "up"]
SOLIDS = ["ball", "box", "cone", "cylinder", "pyramid", "ring"]


# Clips


def emoji(path):
    """A drawing with its white surroundings made transparent."""
    image = Image.open(path).convert("RGBA")
    pixels = np.asarray(image).copy()
    pixels[(pixels[..., :3] > 250).all(-1), 3] = 0
    return Image.fromarray(pixels)


def clip(path, motion, rng):
    """Eight frames of a drawing that moves over a plain background, `[8, 64, 64, 3]`."""
    drawing = emoji(path)
    background = tuple(int(level) for level in rng.integers(90, 256, 3))
    side = rng.uniform(26, 38)
    far = rng.uniform(14, 24)
    times = np.linspace(-0.5, 0.5, FRAMES)
    middle = SIZE / 2 + rng.uniform(-5, 5, 2)
    angle = rng.uniform(-20, 20)
    if motion.startswith("turning"):
        far = rng.uniform(80, 150)
    frames = []
    for time in times:
        (x, y), size, turn = middle, side, angle
        if motion in ("left", "right"):
            x += far * time * (1 if motion == "right" else -1)
        elif motion in ("up", "down"):
            y += far * time * (1 if motion == "down" else -1)
        elif motion in ("growing", "shrinking"):
            size *= 1.9 ** (time if motion == "growing" else -time)
        else:
            turn += far * time * (1 if motion == "turning left" else -1)
        whole = Image.new("RGBA", (SIZE, SIZE), background)
        pixels = max(4, round(size))
        part = drawing.resize((pixels, pixels), Image.LANCZOS).rotate(turn, Image.BICUBIC)
        whole.paste(part, (round(x - pixels / 2), round(y - pixels / 2)), part)
        frames.append(np.asarray(whole.convert("RGB")))
    return np.stack(frames)


def write_clip(frames, path):
    pictures = [Image.fromarray(frame).quantize(128, dither=Image.Dither.NONE) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 // RATE, loop=0)


# Solids


def solid_distance(kind, point, size):
    """The distance of points `[..., 3]` (z up, the solid stands on z = 0) from a solid, or a lower bound of it."""
    x, y, z = point[..., 0], point[..., 1], point[..., 2]
    if kind == "ball":
        return np.sqrt(x**2 + y**2 + (z - size) ** 2) - size
    if kind == "box":
        outside = np.stack([np.abs(x) - 0.8 * size, np.abs(y) - 0.8 * size, np.abs(z - 0.8 * size) - 0.8 * size])
        return np.sqrt((np.maximum(outside, 0) ** 2).sum(0)) + np.minimum(outside.max(0), 0)
    if kind == "cylinder":
        around, along = np.sqrt(x**2 + y**2) - 0.75 * size, np.abs(z - size) - size
        return np.sqrt(np.maximum(around, 0) ** 2 + np.maximum(along, 0) ** 2) + np.minimum(np.maximum(around, along), 0)
    if kind == "cone":
        slope = np.array([2.0, 0.9]) / np.hypot(2.0, 0.9)
        return np.maximum(slope[0] * np.sqrt(x**2 + y**2) + slope[1] * (z - 2 * size), -z)
    if kind == "pyramid":
        slope = np.array([2.0, 0.9]) / np.hypot(2.0, 0.9)
        return np.maximum(slope[0] * np.maximum(np.abs(x), np.abs(y)) + slope[1] * (z - 2 * size), -z)
    ring = np.sqrt((np.sqrt(x**2 + y**2) - 0.75 * size) ** 2 + (z - 0.3 * size) ** 2)
    return ring - 0.3 * size


def scene(kind, rng):
    """A picture `[64, 64, 3]` (u8) of a solid, and its depth `[64, 64]` in millimetres (u16)."""
    size = rng.uniform(0.16, 0.3)
    place = np.array([rng.uniform(-0.35, 0.35), rng.uniform(1.5, 2.3)])
    yaw = rng.uniform(0, np.pi)
    wall = rng.uniform(3.0, 4.0)
    height, tilt = rng.uniform(0.55, 1.0), rng.uniform(0.18, 0.34)
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])

    def distances(point):
        own = point.copy()
        own[..., :2] = (point[..., :2] - place) @ turn
        return solid_distance(kind, own, size), point[..., 2], wall - point[..., 1]

    def distance(point):
        return np.minimum.reduce(distances(point))

    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
    ray = np.stack([columns, np.full_like(rows, FOCAL), -rows], -1) / FOCAL  # one metre along the optical axis
    cosine, sine = np.cos(tilt), np.sin(tilt)
    forward, up = ray[..., 1].copy(), ray[..., 2].copy()
    ray[..., 1], ray[..., 2] = cosine * forward + sine * up, cosine * up - sine * forward
    length = np.linalg.norm(ray, axis=-1)
    eye = np.array([0.0, 0.0, height])
    along = np.full((SIZE, SIZE), 0.3)  # metres along the optical axis: depth
    for _ in range(80):
        along = np.clip(along + 0.95 * distance(eye + along[..., None] * ray) / length, 0, 6)
    point = eye + along[..., None] * ray
    step = 1e-4
    normal = np.stack(
        [distance(point + step * axis) - distance(point - step * axis) for axis in np.eye(3)], -1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    which = np.argmin(np.stack(distances(point)), 0)
    colors = rng.uniform(0.15, 1, (4, 3))
    squares = (np.floor(point[..., 0] / 0.3) + np.floor(point[..., 1] / 0.3)) % 2
    color = np.where((which == 0)[..., None], colors[0], colors[3])
    color = np.where((which == 1)[..., None], np.where(squares[..., None] > 0, colors[1], colors[2]), color)
    light = np.array([rng.uniform(-1, 1), rng.uniform(-1, -0.2), rng.uniform(0.6, 1.4)])
    light /= np.linalg.norm(light)
    # What stands between a point and the light throws a shadow.
    shadow = np.ones((SIZE, SIZE))
    for far in np.linspace(0.03, 0.9, 24):
        shadow = np.minimum(shadow, distances(point + normal * 0.01 + far * light)[0] > 0.004)
    bright = 0.35 + 0.65 * np.clip(normal @ light, 0, 1) * (0.4 + 0.6 * shadow)
    picture = color * bright[..., None] + rng.normal(0, 0.03, (SIZE, SIZE, 3))
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8), np.round(along * 1000).astype(np.uint16)


# The set


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", default="emoji", help="what samples/emoji/make_dataset.py wrote")
    parser.add_argument("-o", "--output", default="data")
    parser.add_argument("--clips", type=int, nargs=2, default=[1600, 200], help="training and held-out")
    parser.add_argument("--solids", type=int, nargs=2, default=[1200, 180], help="training and held-out")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for folder in ("image", "video", "rgbd"):
        os.makedirs(os.path.join(arguments.output, folder), exist_ok=True)
    with open(os.path.join(arguments.emoji, "manifest.jsonl"), encoding="utf-8") as manifest:
        drawings = [json.loads(line) for line in manifest]
    lines, known = [], {"train": [], "validation": []}
    for drawing in drawings:
        split = {"train": "train", "validation": "validation", "artist": "validation"}.get(drawing["split"])
        if split is None:
            continue
        source = os.path.join(arguments.emoji, drawing["file"])
        known[split].append(source)
        name = f"image/{len(lines):04}.png"
        Image.open(source).save(os.path.join(arguments.output, name))
        lines.append({"file": name, "label": drawing["category"], "split": split})
    for split, count in zip(("train", "validation"), arguments.clips):
        for number in range(count):
            rng = np.random.default_rng([arguments.seed, 1, split == "train", number])
            motion = MOTIONS[number % len(MOTIONS)]
            name = f"video/{split}-{number:04}.gif"
            source = known[split][rng.integers(len(known[split]))]
            write_clip(clip(source, motion, rng), os.path.join(arguments.output, name))
            lines.append({"file": name, "label": motion, "split": split})
    for split, count in zip(("train", "validation"), arguments.solids):
        for number in range(count):
            rng = np.random.default_rng([arguments.seed, 2, split == "train", number])
            kind = SOLIDS[number % len(SOLIDS)]
            picture, depth = scene(kind, rng)
            name = f"rgbd/{split}-{number:04}"
            Image.fromarray(picture).save(os.path.join(arguments.output, name + ".png"))
            Image.fromarray(depth).save(os.path.join(arguments.output, name + ".depth.png"))
            lines.append({"file": name + ".png", "depth": name + ".depth.png", "focal_length": FOCAL, "baseline": 0.075,
                          "label": kind, "split": split})
    with open(os.path.join(arguments.output, "manifest.jsonl"), "w", encoding="utf-8") as manifest:
        manifest.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    for kind in ("image", "video", "rgbd"):
        own = [line for line in lines if line["file"].startswith(kind)]
        held = sum(line["split"] == "validation" for line in own)
        print(f"{kind}: {len(own) - held} to learn from, {held} held out, {len({line['label'] for line in own})} classes")


if __name__ == "__main__":
    main()
