"""Holds every factory at its default size against the peer: a state dict that PyTorch saved is loaded strictly, and outputs
and the gradients of all parameters and real inputs are compared.

    python defaults.py PATH/TO/mmgen [FACTORY ...]   exit status 1 if any differs

Nothing is kept. A factory takes seconds to minutes, and up to about five times its weights in memory and on the disk of
the temporary folder (vit_h_14: 2.5 GB of weights). `albef_*` and `videoclip` are examples of the peer that its package does
not install: MULTIMODAL_EXAMPLES is a checkout, and `videoclip` needs transformers as well. SEED draws other weights and inputs.

Allowed: 1e-4 of an output's largest value; 1e-3 of a gradient's, or of a thousandth of the largest gradient of all where
that is more (some gradients are zero but for rounding, as those of the bias of attention's keys). Where that is exceeded,
both are held against the peer in double precision: rounding alone turns units of a deep network on and off, and what
float32 does to the peer is what may be done to us. It need not turn the same ones: a gradient may also be off by a tenth in
3 % of its values, which is one unit of a layer (1e-6 of MDETR's pictures does 1e-2 to gradients of the peer's own).
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file

OUTPUT, GRADIENT, FLOOR = 1e-4, 1e-3, 1e-3
UNIT, UNIT_SHARE = 0.1, 0.03
CLIP_SIZES = {"clip_rn50x4": 288, "clip_rn50x16": 384, "clip_rn50x64": 448}
CLIP = ["clip_vit_b16", "clip_vit_b32", "clip_vit_l14", "clip_rn50", "clip_rn101", *CLIP_SIZES, "clip_rn50_tv",
        "clip_rn101_tv"]
FLAVA = ["flava_image_encoder", "flava_text_encoder", "flava_multimodal_encoder", "flava_model",
         "flava_model_for_pretraining", "flava_model_for_classification"]
ALBEF = ["albef_model_for_retrieval", "albef_model_for_vqa"]
MDETR = ["mdetr_resnet101", "mdetr_for_phrase_grounding", "mdetr_for_vqa"]
OMNIVORE = [f"omnivore_swin_{size}{part}" for size in "tsb" for part in ("", "_encoder")]
VISION = ["vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"]
FACTORIES = [*CLIP, *FLAVA, *ALBEF, *MDETR, *OMNIVORE, *VISION, "bert_text_encoder", "videoclip"]


def configuration(name):
    """What the factory is called with, on both sides."""
    if name == "flava_model_for_classification":
        return {"num_classes": 3129, "pretrained": False}
    return {"text_pretrained": False, "video_pretrained": False} if name == "videoclip" else {}


def padded(self, images):
    """What MDETR makes of pictures, without writing into views, so that they have gradients."""
    import torch
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    mask = torch.ones(len(images), height, width, dtype=torch.bool)
    for image, row in zip(images, mask):
        row[: image.shape[1], : image.shape[2]] = False
    return torch.stack([torch.nn.functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]))
                        for image in images]), mask


def factory(name):
    if name in CLIP:
        from torchmultimodal.models.clip import model
    elif name in FLAVA:
        from torchmultimodal.models.flava import image_encoder, model, text_encoder
        from torchmultimodal.models.flava import transformer
        model.DalleVAEEncoder.load_model = lambda self: None
        for module in (image_encoder, text_encoder, transformer):
            if hasattr(module, name):
                return getattr(module, name)
    elif name in ALBEF:
        import yaml
        sys.path[:1] = [os.environ["MULTIMODAL_EXAMPLES"]]
        from examples.albef import model
        path = os.path.join(os.path.dirname(model.__file__), "configs", f"{name.rpartition('_')[2]}.yaml")
        with open(path) as file:
            parts = {part: values for part, values in yaml.safe_load(file).items() if isinstance(values, dict)}
        for values in parts.values():  # YAML reads 1e-6 as text.
            values.update({key: float(value) for key, value in values.items() if key.endswith("eps")})
        return lambda: getattr(model, name)(dict(parts, hidden_size=768))
    elif name in MDETR:
        from torchmultimodal.models.mdetr import image_encoder, model
        original = image_encoder.mdetr_resnet101_backbone
        model.mdetr_resnet101_backbone = lambda: original(weights=None)
        model.MDETR._pad_images = padded
    elif name in OMNIVORE:
        from torchmultimodal.models import omnivore as model
    elif name in VISION:
        from torchmultimodal.modules.encoders import vision_transformer as model
    elif name == "bert_text_encoder":
        from torchmultimodal.modules.encoders import bert_text_encoder as model
    else:
        sys.path[:1] = [os.environ["MULTIMODAL_EXAMPLES"]]
        from examples.mugen.retrieval import video_clip as model
    return getattr(model, name)


def call(name):
    """The tensors and the arguments of a call."""
    import torch

    def ids(length, most=30000, batch=2, start=101):
        text = torch.randint(1000, most, (batch, length))
        text[:, 0] = start
        return text

    picture = lambda size, batch=2: torch.randn(batch, 3, size, size)
    if name in CLIP:
        return dict(features_a=picture(CLIP_SIZES.get(name, 224)), features_b=ids(77, 49000)), {}
    if name == "flava_image_encoder":
        return dict(pixel_values=picture(224)), {}
    if name == "flava_text_encoder":
        return dict(input_ids=ids(40)), {}
    if name == "flava_multimodal_encoder":
        return dict(hidden_states=torch.randn(2, 50, 768)), {}
    if name == "flava_model":
        return dict(image=picture(224), text=ids(40)), dict(skip_unmasked_mm_encoder=False)
    if name == "flava_model_for_classification":
        return dict(image=picture(224), text=ids(40), labels=torch.tensor([3, 3000])), {}
    if name == "flava_model_for_pretraining":
        words, hidden = ids(40), torch.rand(2, 40) < 0.15
        hidden[:, 5] = True
        patches = torch.zeros(2, 196, dtype=torch.long)
        patches[:, 60:135] = 1
        return dict(image=picture(224), text=words, image_for_codebook=torch.rand(2, 3, 112, 112),
                    image_patches_mask=patches, text_masked=torch.where(hidden, 103, words),
                    itm_labels=torch.tensor([1, 1]), mlm_labels=torch.where(hidden, words, -1)), {}
    if name == "albef_model_for_retrieval":
        # Of two entries, each is the only negative that can be drawn for the other.
        return dict(image=picture(384), text=ids(30), text_atts=torch.ones(2, 30, dtype=torch.long),
                    idx=torch.arange(2)), dict(alpha=0.4)
    if name == "albef_model_for_vqa":
        return dict(image=picture(384), question=ids(12), question_atts=torch.ones(2, 12, dtype=torch.long),
                    answers=ids(5, batch=3), answers_atts=torch.ones(3, 5, dtype=torch.long),
                    ans_weights=torch.tensor([1.0, 0.5, 0.5])), dict(ans_lengths=[1, 2], alpha=0.4)
    if name in MDETR:
        return {"images.0": torch.randn(3, 240, 320), "images.1": torch.randn(3, 200, 300),
                "text.0": ids(12, batch=1, start=0)[0], "text.1": ids(9, batch=1, start=0)[0]}, {}
    if name in OMNIVORE:
        inputs = dict(x=torch.randn(1, 3, 8, 224, 224))
        return inputs, {} if name.endswith("_encoder") else dict(input_type="video")
    if name in VISION:
        return dict(images=picture(224)), {}
    if name == "bert_text_encoder":
        return dict(input_ids=ids(40)), {}
    return dict(features_a=ids(40), features_b=torch.randn(2, 3, 16, 224, 224)), {}


def calm(model):
    """Lets every block of a ResNet add a tenth of what it would: frozen norms do not hold random weights back, features grow
    to millions, and attention among them hangs on the last bit: a change of 1e-6 of the pictures moves the peer's own
    outputs by 2.5e-3."""
    import torch
    with torch.no_grad():
        for key, value in model.named_buffers():
            if key.endswith("bn3.weight"):
                value.mul_(0.1)


def ask_the_peer(name, folder, precision):
    """Writes the factory's state dict, the inputs of a call with cotangents, and what comes out; in double precision only
    the last, of the same weights, inputs and cotangents."""
    from fixture import evaluate, is_float, perturb
    import torch
    from safetensors.torch import load_file, save_file
    torch.set_num_threads(os.cpu_count() or 1)
    torch.use_deterministic_algorithms(False)
    torch.manual_seed(int(os.environ.get("SEED", "5")))
    at = lambda file: os.path.join(folder, file)
    model = perturb(factory(name)(**configuration(name)), 0.005)
    for part in model.modules() if name in ALBEF else []:
        if hasattr(part, "momentum"):
            part.momentum = 1  # the peer's twins take a step at inference too, the engine's do not
    if name in MDETR:
        calm(model)
    inputs, arguments = call(name)
    cotangents = {}
    if precision == "double":
        model = model.double()
        inputs = {key: value.double() if is_float(value) else value for key, value in inputs.items()}
        cotangents = {key.partition(".")[2]: value.double() for key, value in load_file(at("inputs.safetensors")).items()
                      if key.startswith("cotangent.")}
    else:
        torch.save(model.state_dict(), at("weights.pt"))
    found = evaluate(model, inputs, "forward", arguments, "eval", cotangents)
    save_file(found, at(f"{precision}.safetensors"))
    if precision == "double":
        return
    given = {**inputs, **{f"cotangent.{key}": value for key, value in cotangents.items()}}
    save_file({key: value.contiguous() for key, value in given.items()}, at("inputs.safetensors"))
    for part, value in (("config", configuration(name)), ("args", arguments)):
        with open(at(f"{part}.json"), "w") as file:
            json.dump(value, file)


def distances(found, expected, measure=np.max):
    """How far every tensor is off, as a share of what it is measured by; infinite where it is of another kind."""
    largest = max((float(np.abs(value).max(initial=0)) for key, value in expected.items() if key.startswith("grad.")),
                  default=0.0)
    result = {}
    for key, want in expected.items():
        have = found.get(key)
        result[key] = float("inf")
        if have is None or have.shape != want.shape:
            continue
        if want.dtype.kind != "f":
            result[key] = 0.0 if np.array_equal(have, want) else float("inf")
            continue
        finite = np.abs(want) < 1e30
        if np.array_equal(np.abs(have) < 1e30, finite):
            floor = FLOOR * largest if key.startswith("grad.") else 0
            scale = max(float(np.abs(want[finite]).max(initial=0)), floor, 1e-30)
            result[key] = float(measure(np.append(np.abs(have[finite] - want[finite]) / scale, 0)))
    return result


def summary(off):
    outputs, gradients = ([value for key, value in off.items() if key.startswith("grad.") == kind]
                          for kind in (False, True))
    return f"outputs {max(outputs):.1e}, {len(gradients)} gradients {max(gradients, default=0):.1e}"


def allowed(key):
    return GRADIENT if key.startswith("grad.") else OUTPUT


def check(engine, name):
    """A line that tells how far off the engine is, and whether that is allowed."""
    with tempfile.TemporaryDirectory() as folder:
        at = lambda file: os.path.join(folder, file)

        def ask(precision):
            return subprocess.run(
                [sys.executable, "-W", "ignore", os.path.abspath(__file__), "--peer", name, folder, precision],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

        peer = ask("single")
        if peer.returncode:
            return f"{name}: the peer fails: {peer.stderr.strip().splitlines()[-1]}", False
        ours = subprocess.run(
            [engine, "forward", name, "--config", at("config.json"), "--args", at("args.json"), "--inputs",
             at("inputs.safetensors"), "--weights", at("weights.pt"), "--outputs", at("out.safetensors"), "--vjp"],
            capture_output=True, text=True)
        if ours.returncode:
            return f"{name}: {ours.stderr.strip()[-300:]}", False
        found, single = load_file(at("out.safetensors")), load_file(at("single.safetensors"))
        off = distances(found, single)
        line = f"{name}: {summary(off)}"
        far = [key for key, value in off.items() if not value <= allowed(key)]
        if not far:
            return line, True
        if ask("double").returncode:
            return "\n     ".join([line, *(f"{key} is off by {off[key]:.1e}" for key in far[:8])]), False
        double = load_file(at("double.safetensors"))
        own, peers = distances(found, double), distances(single, double)
        line += f"; from double precision: {summary(own)}, the peer's {summary(peers)}"
        worst = {kind: max((peers[key] for key in peers if key.startswith("grad.") == kind), default=0)
                 for kind in (False, True)}
        most = distances(found, double, lambda values: np.quantile(values, 1 - UNIT_SHARE))
        far = [key for key, value in own.items() if not value <= max(allowed(key), 2 * worst[key.startswith("grad.")])
               and not (key.startswith("grad.") and most[key] <= GRADIENT and value <= UNIT)]
        return "\n     ".join([line, *(f"{key} is off by {own[key]:.1e}" for key in far[:8])]), not far


def main():
    if sys.argv[1:2] == ["--peer"]:
        return ask_the_peer(*sys.argv[2:5])
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    bad = 0
    for name in sys.argv[2:] or FACTORIES:
        line, agrees = check(sys.argv[1], name)
        bad += not agrees
        print("ok  " if agrees else "FAIL", line, flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
