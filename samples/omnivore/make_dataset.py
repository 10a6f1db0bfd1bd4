#!/usr/bin/env python3
"""Makes three small labelled sets for one model: pictures, clips, and pictures with depth.

    python3 ../emoji/make_dataset.py -o emoji          # drawings of emoji by two hands
    pip install numpy pillow
    python3 make_dataset.py --emoji emoji              # data/: manifest.jsonl, 64 x 64 pixels

image  which of twelve things an emoji shows, drawn by Noto or EmojiOne, of any size, place, turn and background.
video  how such an emoji moves over eight frames: left or right, up or down, growing or shrinking. Backwards each is another
       of the six, so no frame says which.
rgbd   solids on a floor before a wall, ray-traced with their true depth: ball, box, cone, cylinder, pyramid, ring. The floor
       is chequered, everything has any colour and pixels are noisy.

Held-out samples are drawn anew in the same way. The same --seed gives the same set.
"""

import argparse
import json
import os

import numpy as np
from PIL import Image

SIZE = 64
FRAMES, RATE = 8, 10
FOCAL = 70.0  # pixels
MOTIONS = ["down", "growing", "left", "right", "shrinking", "up"]
THINGS = {
    "1F346": "aubergine", "1F697": "automobile", "1F34C": "banana", "1F514": "bell", "1F6B2": "bicycle",
    "1F438": "frog face", "1F347": "grapes", "1F419": "octopus", "1F427": "penguin", "26BD": "soccer ball",
    "1F33B": "sunflower", "1F345": "tomato",
}
SOLIDS = ["ball", "box", "cone", "cylinder", "pyramid", "ring"]


# Pictures and clips


def emoji(path):
    """A drawing with its white surroundings made transparent."""
    pixels = np.asarray(Image.open(path).convert("RGBA")).copy()
    pixels[(pixels[..., :3] > 250).all(-1), 3] = 0
    return Image.fromarray(pixels)


def shown(drawing, background, x, y, size, turn):
    """A drawing of a size in pixels around a place, turned by degrees, `[64, 64, 3]`."""
    whole = Image.new("RGB", (SIZE, SIZE), background)
    pixels = max(4, round(size))
    part = drawing.resize((pixels, pixels), Image.LANCZOS).rotate(turn, Image.BICUBIC)
    whole.paste(part, (round(x - pixels / 2), round(y - pixels / 2)), part)
    return np.asarray(whole)


def color(rng):
    return tuple(int(level) for level in rng.integers(90, 256, 3))


def picture(drawing, rng):
    x, y = SIZE / 2 + rng.uniform(-12, 12, 2)
    return shown(drawing, color(rng), x, y, rng.uniform(24, 48), rng.uniform(-40, 40))


def clip(drawing, motion, rng):
    """Eight frames of a drawing that moves over a plain background, `[8, 64, 64, 3]`."""
    background, side, far = color(rng), rng.uniform(26, 38), rng.uniform(16, 26)
    middle, angle = SIZE / 2 + rng.uniform(-5, 5, 2), rng.uniform(-20, 20)
    frames = []
    for time in np.linspace(-0.5, 0.5, FRAMES):
        (x, y), size = middle, side
        if motion in ("left", "right"):
            x += far * time * (1 if motion == "right" else -1)
        elif motion in ("up", "down"):
            y += far * time * (1 if motion == "down" else -1)
        else:
            size *= 2 ** (time if motion == "growing" else -time)
        frames.append(shown(drawing, background, x, y, size, angle))
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
    size = rng.uniform(0.28, 0.4)
    place = np.array([rng.uniform(-0.25, 0.25), rng.uniform(1.6, 2.1)])
    yaw = rng.uniform(0, np.pi)
    wall = rng.uniform(3.0, 4.0)
    height, tilt = rng.uniform(0.8, 1.2), rng.uniform(0.28, 0.4)
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
    parser.add_argument("--train", type=int, default=1800, help="samples of each kind")
    parser.add_argument("--held-out", type=int, default=300, help="samples of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    drawings = {(code, hand): emoji(os.path.join(arguments.emoji, hand, code + ".png"))
                for code in THINGS for hand in ("noto", "emojione")}
    codes, lines = list(THINGS), []
    for number, kind in enumerate(("image", "video", "rgbd")):
        os.makedirs(os.path.join(arguments.output, kind), exist_ok=True)
        for split, count in (("train", arguments.train), ("validation", arguments.held_out)):
            for place in range(count):
                rng = np.random.default_rng([arguments.seed, number, split == "train", place])
                hand = ("noto", "emojione")[rng.integers(2)]
                name = f"{kind}/{split}-{place:04}" + (".gif" if kind == "video" else ".png")
                line = {"file": name}
                path = os.path.join(arguments.output, name)
                if kind == "image":
                    code = codes[place % len(codes)]
                    Image.fromarray(picture(drawings[code, hand], rng)).save(path)
                    line["label"] = THINGS[code]
                elif kind == "video":
                    line["label"] = MOTIONS[place % len(MOTIONS)]
                    write_clip(clip(drawings[codes[rng.integers(len(codes))], hand], line["label"], rng), path)
                else:
                    line["label"] = SOLIDS[place % len(SOLIDS)]
                    pixels, depth = scene(line["label"], rng)
                    Image.fromarray(pixels).save(path)
                    line.update(depth=name.replace(".png", ".depth.png"), focal_length=FOCAL, baseline=0.075)
                    Image.fromarray(depth).save(os.path.join(arguments.output, line["depth"]))
                lines.append({**line, "split": split})
    with open(os.path.join(arguments.output, "manifest.jsonl"), "w", encoding="utf-8") as manifest:
        manifest.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    print(f"{len(lines)} samples, {3 * arguments.held_out} of them held out")


if __name__ == "__main__":
    main()
