"""Writes Fixtures/transforms: pictures and what Pillow, torchvision and the peer's transforms make of them."""
import os

import fixture
import numpy as np
import PIL
import torch
import torchvision.transforms as T
import torchvision.transforms.functional as F
from PIL import Image
from safetensors.torch import save_file
from torchmultimodal.transforms import clip_transform, flava_transform, video_transform
from torchvision.transforms import InterpolationMode as Mode

ROOT = os.path.join(fixture.ROOT, "transforms")
os.makedirs(ROOT, exist_ok=True)
tensors = {}
METHODS = {"bilinear": Mode.BILINEAR, "bicubic": Mode.BICUBIC, "lanczos": Mode.LANCZOS, "area": Mode.BOX,
           "nearest": Mode.NEAREST}


def picture(height, width, seed):
    """Waves with noise and hard edges: everything a filter can get wrong."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127.5 + 110 * np.sin(x / (2.3 + k) + y / (4.1 - k) + seed) for k in range(3)]
    image = np.stack(planes, -1) + generator.normal(0, 12, (height, width, 3))
    image[height // 3:height // 2, width // 4:width // 2] = [255, 0, 128]
    return image.clip(0, 255).astype(np.uint8)


def put(name, value):
    if isinstance(value, Image.Image):
        value = np.array(value)
    tensors[name] = torch.as_tensor(np.asarray(value)).contiguous().clone()


def resizes(source):
    for name, method in METHODS.items():
        for width, height in [(7, 5), (23, 31), (80, 20), (37, 61), (1, 1), (37, 29)]:
            put(f"resize/{name}/{width}x{height}",
                Image.fromarray(source).resize((width, height), getattr(Image.Resampling, {"area": "BOX"}.get(
                    name, name.upper()))))


def float_resizes(source):
    values = torch.from_numpy(source).permute(2, 0, 1).float() / 255
    put("float/source", values)
    for name in ["bilinear", "bicubic"]:
        for antialias in [True, False]:
            for height, width in [(5, 7), (31, 23), (20, 80)]:
                put(f"float/{name}/{'smooth' if antialias else 'plain'}/{height}x{width}",
                    F.resize(values, [height, width], METHODS[name], antialias=antialias))


def clip(source):
    image = Image.fromarray(source)
    for name, size in [("square", 24), ("exact", (20, 30)), ("odd", 33)]:
        put(f"clip/{name}", clip_transform.CLIPImageTransform(size, is_train=False)(image))
    for index, (top, left, height, width) in enumerate([(3, 5, 20, 25), (0, 0, 29, 37), (10, 1, 7, 30)]):
        put(f"crop/{index}", F.resized_crop(image, top, left, height, width, [24, 24], Mode.BICUBIC))
    # A crop larger than the picture gets a black frame.
    put("center/larger", F.center_crop(image, [36, 33]))
    put("center/smaller", F.center_crop(image, [14, 20]))


def flava(source):
    image = Image.fromarray(source)
    transform = flava_transform.FLAVAImageTransform(
        is_train=False, encoder_input_size=24, codebook_input_size=12, mask_window_size=6, mask_num_patches=10,
        mask_min_patches=2)
    out = transform(image)
    put("flava/image", out["image"])
    put("flava/image_for_codebook", out["image_for_codebook"])


def video(source):
    clip = np.stack([np.roll(source, 3 * t, 1) for t in range(5)])[:, :14, :18]
    batch = torch.from_numpy(np.stack([clip, clip[::-1]])).contiguous()
    put("video/source", batch)
    for samples in [3, 5, 8]:
        transform = video_transform.VideoTransform(time_samples=samples, resize_shape=(10, 12))
        put(f"video/levels/{samples}", transform(batch))
        put(f"video/numbers/{samples}", transform(batch.float()))
    put("video/same_size", video_transform.VideoTransform(time_samples=5, resize_shape=(14, 18))(batch))


def operations(source):
    """RandAugment's operations and ColorJitter's, as torchvision applies them to Pillow pictures."""
    from torchvision.transforms.autoaugment import _apply_op
    image = Image.fromarray(source)
    names = ["Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
             "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"]
    for magnitude in [7, 20]:
        augment = T.RandAugment(2, magnitude)
        space = augment._augmentation_space(31, (29, 37))
        for name in names:
            magnitudes, signed = space[name]
            size = float(magnitudes[magnitude].item()) if magnitudes.ndim > 0 else 0.0
            put(f"operation/{name}/{magnitude}/strength", np.float64(size))
            for sign in ([1, -1] if signed else [1]):
                put(f"operation/{name}/{magnitude}/{'plus' if sign > 0 else 'minus'}",
                    _apply_op(image, name, sign * size, Mode.NEAREST, None))
                if name in names[1:6] and magnitude == 7:
                    put(f"operation/{name}/{magnitude}/cubic{'plus' if sign > 0 else 'minus'}",
                        _apply_op(image, name, sign * size, Mode.BICUBIC, None))
    for share in [-0.1, 0.03, 0.5]:
        put(f"hue/{share}", F.adjust_hue(image, share))


def albef(source):
    image = Image.fromarray(source)
    put("albef", T.Compose([T.Resize((24, 24), interpolation=Mode.BICUBIC), T.ToTensor(),
                            T.Normalize(clip_transform.CLIP_DEFAULT_MEAN, clip_transform.CLIP_DEFAULT_STD)])(image))


def omnivore(source):
    """examples/omnivore/data/presets.py, the presets for evaluation, at small sizes."""
    image = Image.fromarray(source)
    imagenet = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    put("omnivore/image", T.Compose([T.Resize(26, interpolation=Mode.BICUBIC), T.CenterCrop(22), T.PILToTensor(),
                                     T.ConvertImageDtype(torch.float), imagenet])(image)[:, None])
    clip = tensors["video/source"][0].permute(0, 3, 1, 2)
    put("omnivore/video", T.Compose([T.ConvertImageDtype(torch.float32), T.Resize(12),
                                     T.Normalize((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
                                     T.CenterCrop(10)])(clip).permute(1, 0, 2, 3))
    depth = torch.from_numpy(np.random.default_rng(3).uniform(-5, 120, (1, 29, 37)).astype(np.float32))
    rgbd = torch.cat([tensors["float/source"], depth])
    put("omnivore/rgbd", rgbd)
    scaled = rgbd.clone()
    scaled[3] = scaled[3].clamp(min=0.01).clamp(max=75) / 75
    put("omnivore/depth_scaled", scaled)
    put("omnivore/depth", T.Compose([T.Resize(26, interpolation=Mode.BILINEAR), T.CenterCrop(22), T.Normalize(
        (0.485, 0.456, 0.406, 0.0418), (0.229, 0.224, 0.225, 0.0295))])(scaled)[:, None])


def mdetr(source):
    """examples/mdetr/data/transforms.py: resize, crop, mirror, normalise, written out for one target."""
    image = Image.fromarray(source)
    boxes = torch.tensor([[2.0, 3, 20, 15], [0, 0, 37, 29], [30, 20, 36.5, 28]])
    put("mdetr/boxes", boxes)
    for index, (size, longest) in enumerate([(20, 24), (60, 1333), (29, 100), (45, 50)]):
        w, h = image.size
        side = size
        if max(w, h) / min(w, h) * side > longest:
            side = int(round(longest * min(w, h) / max(w, h)))
        if (w <= h and w == side) or (h <= w and h == side):
            target = (h, w)
        else:
            target = (int(side * h / w), side) if w < h else (side, int(side * w / h))
        out = F.normalize(F.to_tensor(F.resize(image, target)), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        ratio = torch.as_tensor([target[1] / w, target[0] / h] * 2)
        scaled = boxes * ratio
        centers = torch.stack([(scaled[:, 0] + scaled[:, 2]) / 2, (scaled[:, 1] + scaled[:, 3]) / 2,
                               scaled[:, 2] - scaled[:, 0], scaled[:, 3] - scaled[:, 1]], 1)
        put(f"mdetr/image/{index}", out if index in (0, 2) else out[:, ::7, ::7])
        put(f"mdetr/scaled/{index}", centers / torch.tensor([target[1], target[0]] * 2, dtype=torch.float32))


def files():
    """Pictures in the formats that Pillow writes, and what `convert("RGB")` makes of each."""
    folder = os.path.join(ROOT, "pictures")
    os.makedirs(folder, exist_ok=True)
    height, width = 22, 30
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127.5 + 127.5 * np.sin(x / (3 + k) + y / (5 - k) + k) for k in range(3)], -1)
    rgb = waves.astype(np.uint8)
    alpha = ((x * 7 + y * 3) % 256).astype(np.uint8)
    image = Image.fromarray(rgb)
    palette = image.quantize(32)
    exif = Image.Exif()
    exif[0x112] = 6
    wanted = {
        "rgb.png": (image, {}), "rgba.png": (Image.fromarray(np.dstack([rgb, alpha])), {}),
        "gray.png": (Image.fromarray(rgb[..., 0]), {}),
        "gray_alpha.png": (Image.fromarray(np.dstack([rgb[..., 0], alpha])), {}),
        "palette.png": (palette, {}), "palette_clear.png": (palette, {"transparency": 3}),
        "bits.png": (Image.fromarray(rgb[..., 0] > 128), {}),
        "gray16.png": (Image.fromarray((waves[..., 0] * 257).astype(np.uint16)), {}),
        "full.jpg": (image, {"quality": 95, "subsampling": 0}), "halved.jpg": (image, {"quality": 75}),
        "gray.jpg": (image.convert("L"), {"quality": 90}), "cmyk.jpg": (image.convert("CMYK"), {"quality": 95}),
        "rotated.jpg": (image, {"quality": 95, "subsampling": 0, "exif": exif}),
        "progressive.jpg": (image, {"quality": 85, "progressive": True}),
        "lossless.webp": (image, {"lossless": True}), "lossy.webp": (image, {"quality": 80}), "plain.bmp": (image, {}),
    }
    for name, (picture, options) in wanted.items():
        path = os.path.join(folder, name)
        picture.save(path, **options)
        put(f"decoded/{name}", Image.open(path).convert("RGB"))
    # Pillow writes no 16-bit colours.
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (waves * 257).astype(">u2")
    with open(os.path.join(folder, "rgb16.png"), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
                   + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))) + chunk(b"IEND", b""))
    put("decoded/rgb16.png", Image.open(os.path.join(folder, "rgb16.png")).convert("RGB"))
    put("decoded/gray16.exact", (waves[..., 0] * 257).astype(np.uint16).astype(np.float32) / 257)


source = picture(29, 37, 1)
put("source", source)
resizes(source)
float_resizes(source)
clip(source)
flava(source)
video(source)
operations(source)
albef(source)
omnivore(source)
mdetr(source)
files()
metadata = {"made_with": f"{fixture.METADATA['made_with']}, torchvision {__import__('torchvision').__version__}, "
            f"pillow {PIL.__version__}"}
save_file(tensors, os.path.join(ROOT, "transforms.safetensors"), metadata=metadata)
