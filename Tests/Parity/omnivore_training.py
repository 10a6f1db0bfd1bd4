"""What Omnivore's training makes of its batches. Run: MULTIMODAL_EXAMPLES=CHECKOUT python omnivore_training.py

RandAugment3d and the mixes are examples of facebookresearch/multimodal, which the package does not install: CHECKOUT is a
copy of the repository.
"""
import os
import sys

import fixture
import numpy as np
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as F
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode as Mode

sys.path.insert(0, os.path.join(os.environ["MULTIMODAL_EXAMPLES"], "examples"))
from omnivore.data import rand_aug3d, transforms  # noqa: E402

tensors = {}


def put(name, value):
    tensors[name] = torch.as_tensor(np.asarray(value)).contiguous().clone()


def picture(height, width):
    """Colours with waves, noise, an edge and a gray part, and depth that rises."""
    generator = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    planes = [0.5 + 0.45 * np.sin(x / (2.3 + k) + y / (4.1 - k)) for k in range(3)]
    colours = np.stack(planes) + generator.normal(0, 0.05, (3, height, width))
    colours[:, height // 3:height // 2, width // 4:width // 2] = np.array([1, 0, 0.5])[:, None, None]
    colours[:, :4, :5] = 0.4
    depth = 0.1 + 0.8 * (x + 2 * y) / (width + 2 * height)
    return torch.tensor(np.concatenate([colours.clip(0, 1), depth[None]]), dtype=torch.float32)


def operations(image):
    names = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
             "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]
    augment = rand_aug3d.RandAugment3d(interpolation=Mode.BILINEAR, num_ops=1)
    space = augment._augmentation_space(31, tuple(image.shape[1:]))
    for name in names:
        magnitudes, signed = space[name]
        size = float(magnitudes[9].item()) if magnitudes.ndim > 0 else 0.0
        for sign in ([1, -1] if signed else [1]):
            changed = image.clone()
            part = changed if name in augment.geom_ops else changed[:3]
            done = rand_aug3d._apply_op(part, name, sign * size, interpolation=Mode.BILINEAR, fill=None)
            changed = done if name in augment.geom_ops else torch.cat([done, changed[3:]])
            put(f"operation/{name}/{'plus' if sign > 0 else 'minus'}", changed)
    for share in (-0.1, 0.03, 0.5):
        put(f"hue/{share}", torch.cat([F.adjust_hue(image[:3], share), image[3:]]))


def mixes():
    """The peer's mixes with the shares and the place that it draws told apart from what it does with them."""
    batch = torch.rand(4, 3, 2, 6, 8)
    target = torch.tensor([0, 2, 1, 2])
    put("mix/batch", batch)
    put("mix/target", target)
    drawn = torch._sample_dirichlet
    for share in (0.3, 0.85):
        torch._sample_dirichlet = lambda _: torch.tensor([share, 1 - share])
        mixed, targets = transforms.RandomMixup(3, p=1.0, alpha=0.8)(batch, target)
        put(f"mixup/{share}/batch", mixed)
        put(f"mixup/{share}/targets", targets)
        for seed in (1, 2):
            torch.manual_seed(seed)
            mixed, targets = transforms.RandomCutmix(3, p=1.0, alpha=1.0)(batch, target)
            torch.manual_seed(seed)
            torch.rand(1)
            x, y = int(torch.randint(8, (1,))), int(torch.randint(6, (1,)))
            put(f"cutmix/{share}/{x}/{y}/batch", mixed)
            put(f"cutmix/{share}/{x}/{y}/targets", targets)
    torch._sample_dirichlet = drawn
    scores = torch.randn(4, 3)
    put("loss/scores", scores)
    for smoothing in (0.0, 0.1):
        put(f"loss/{smoothing}", torch.nn.functional.cross_entropy(
            scores, tensors["mixup/0.3/targets"], label_smoothing=smoothing))


torch.manual_seed(0)
image = picture(17, 21)
put("source", image)
operations(image)
mixes()
folder = os.path.join(fixture.ROOT, "transforms")
metadata = {"made_with": f"{fixture.METADATA['made_with']}, torchvision {__import__('torchvision').__version__}"}
save_file(tensors, os.path.join(folder, "omnivore_training.safetensors"), metadata=metadata)
