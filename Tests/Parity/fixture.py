"""Writes fixtures that hold this engine against TorchMultimodal (the peer); README.md tells the format.

A model is described by plain data, `{"class": NAME, ...keyword arguments}`, and built from it by `build`, so the same
description goes into `case.json` and reaches the engine's own builder.
"""
import contextlib
import copy
import dataclasses
import importlib.metadata
import json
import math
import os
import shutil

try:
    import peer_torchvision  # noqa: F401  (CPU-only installations declare torchvision's operators here)
except ImportError:
    pass
import torch
from safetensors.torch import save_file
from torch import nn
from torchmultimodal.modules.layers import codebook

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Fixtures")
LIMIT = 200_000  # bytes a file
VERSIONS = {
    "torch": torch.__version__,
    "torchmultimodal": importlib.metadata.version("torchmultimodal-nightly"),
}
# One entry: the format's writer puts several in an order of its own at every run, and files should not change for that.
METADATA = {"made_with": ", ".join(f"{name} {version}" for name, version in VERSIONS.items())}
CLASSES = {}


def classes(**entries):
    CLASSES.update(entries)


def build(spec):
    """Turns a description into a module, a class (for a name such as "nn.GELU") or a value; lists become tuples."""
    if isinstance(spec, dict):
        kwargs = {key: build(value) for key, value in spec.items() if key != "class"}
        return named(spec["class"])(**kwargs) if "class" in spec else kwargs
    if isinstance(spec, (list, tuple)):
        return tuple(build(item) for item in spec)
    if isinstance(spec, str):
        return named(spec)
    return spec


def named(name):
    return getattr(nn, name[3:]) if name.startswith("nn.") else CLASSES[name]


def perturb(module, scale=0.05):
    """Moves every parameter off its start (zeros, ones, clones) and gives buffers values that matter."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
        for name, buffer in module.named_buffers():
            leaf = name.rpartition(".")[2]
            if leaf == "running_mean":
                buffer.copy_(torch.randn_like(buffer) * 0.2)
            elif leaf == "running_var":
                buffer.copy_(torch.rand_like(buffer) + 0.5)
            elif leaf == "num_batches_tracked":
                buffer.fill_(7)
        for part in module.modules():
            if type(part).__name__ == "Codebook":
                # Usage well above the restart threshold: no code is drawn anew, so nothing here is random.
                part.code_usage.copy_(torch.rand_like(part.code_usage) * 3 + 3)
                part.embedding.copy_(torch.randn_like(part.embedding))
                part.code_avg.copy_(part.embedding * part.code_usage[:, None])
                part._is_embedding_init = True
    return module


@torch.no_grad()
def spread_codes(target, inputs, mode="eval"):
    """Places the codes of a VQVAE among what its encoder makes of `inputs["x"]`, so that many of them are chosen.

    Draws again until the two nearest codes of every vector are clearly apart: no choice may hang on rounding.
    """
    book = target.codebook
    encoded = copy.deepcopy(target.encoder).train(mode == "train")(inputs["x"]).movedim(1, -1).flatten(0, -2)
    spread = encoded.std(0, unbiased=False) + 1e-2
    for _ in range(1000):
        rows = encoded[torch.randint(0, len(encoded), (book.num_embeddings,))]
        codes = rows + 0.5 * spread * torch.randn_like(rows)
        nearest = torch.cdist(encoded, codes, compute_mode="donot_use_mm_for_euclid_dist").topk(2, largest=False).values
        if (nearest[:, 1] - nearest[:, 0]).min() > 1e-3 * nearest.mean():
            book.embedding.copy_(codes)
            book.code_avg.copy_(codes * book.code_usage[:, None])
            return
    raise ValueError("no codebook found whose choices are clear")


def flatten(value, prefix=""):
    """Output fields by dotted name; a bare tensor is `output`."""
    if value is None:
        return {}
    if isinstance(value, torch.Tensor):
        return {prefix or "output": value}
    if hasattr(value, "_asdict"):
        items = value._asdict().items()
    elif dataclasses.is_dataclass(value):
        items = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (tuple, list)):
        items = enumerate(value)
    else:
        raise TypeError(f"no tensor in {type(value)}")
    out = {}
    for key, item in items:
        out.update(flatten(item, f"{prefix}.{key}" if prefix else str(key)))
    return out


def copied(tensors):
    return {key: value.detach().clone().contiguous() for key, value in tensors.items()}


def save(path, tensors):
    # Scalars keep their shape; bool, i64 and f32 are all safetensors types.
    save_file(copied(tensors), path, metadata=METADATA)
    size = os.path.getsize(path)
    if size > LIMIT:
        raise ValueError(f"{path} has {size} bytes, more than {LIMIT}")


def save_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")


def is_float(tensor):
    return tensor.dtype.is_floating_point


def evaluate(target, inputs, method, args, mode, cotangents):
    """One call of the peer. `cotangents`: None for no gradients, {} to have them drawn, else what was drawn before."""
    is_module = isinstance(target, nn.Module)
    before = {}
    if is_module:
        target.train(mode == "train")
        before = copied(moving(target))
        for parameter in target.parameters():
            parameter.grad = None
    inputs = {key: value.clone().requires_grad_(cotangents is not None and is_float(value))
              for key, value in inputs.items()}
    call = getattr(target, method) if is_module and method != "forward" else target
    with torch.set_grad_enabled(cotangents is not None):
        outputs = flatten(call(**positional_lists(inputs), **args))
    expected = copied(outputs)
    if cotangents is not None:
        wanted = {name: value for name, value in outputs.items() if is_float(value) and value.requires_grad}
        if not cotangents:
            cotangents.update({name: torch.randn_like(value) for name, value in wanted.items()})
        # backward(), not autograd.grad: the peer's layers use re-entrant checkpointing in training.
        sum((value * cotangents[name].to(value.dtype)).sum() for name, value in wanted.items()).backward()
        if is_module:
            for name, parameter in target.named_parameters():
                if parameter.grad is not None:
                    expected["grad." + name] = parameter.grad
        for name, value in inputs.items():
            if value.grad is not None:
                expected["grad.input." + name] = value.grad
    if is_module and mode == "train":
        for name, value in moving(target).items():
            if not torch.equal(value, before[name]):
                expected["buffer." + name] = value
    return copied(expected)


def moving(module):
    """What a call can change: buffers, and parameters that are not trained (momentum twins)."""
    frozen = {name: value for name, value in module.named_parameters() if not value.requires_grad}
    return {**dict(module.named_buffers()), **frozen}


def positional_lists(inputs):
    """`name.0`, `name.1`, ... become one list argument, `name.0.0` and so on lists of lists, `name.word` a dict."""
    out = {}
    for key, value in inputs.items():
        head, *rest = key.split(".")
        if not rest:
            out[key] = value
        elif not rest[0].isdigit():
            out.setdefault(head, {})[".".join(rest)] = value
        else:
            target = out.setdefault(head, [])
            for index in map(int, rest[:-1]):
                if index == len(target):
                    target.append([])
                target = target[index]
            target.append(value)
    return out


def magnitude(tensor):
    """The largest magnitude; mask fill values (1e30 and beyond) and infinities do not count."""
    values = tensor.double().abs()
    values = values[values < 1e30]
    return values.max().item() if values.numel() else 0.0


def noise(single, double):
    """The peer's own rounding: f32 against f64, under the comparison rule of README.md. Also the rule's floor."""
    floor = 0.01 * max([magnitude(v) for k, v in double.items() if k.startswith("grad.")], default=0.0)
    worst = 0.0
    for key, value in single.items():
        if is_float(value):
            keep = value.double().abs() < 1e30
            error = (value.double() - double[key].double()).abs()[keep]
            scale = max(magnitude(double[key]), floor if key.startswith("grad.") else 0.0, 1e-6)
            worst = max(worst, (error.max().item() if error.numel() else 0.0) / scale)
        elif not torch.equal(value, double[key]):
            raise ValueError(f"{key}: an integer output depends on rounding, choose other data")
    return worst, floor


@contextlib.contextmanager
def trainable_sos():
    """The peer detaches the start token (it never learns); with this it does, as it does in this engine."""
    shift = CLASSES.get("RightShift")
    original = shift.forward

    def forward(self, x):
        sos = self.sos.expand(x.shape[0], 1, -1)
        return torch.cat((sos, x[:, :-1, :]), dim=1)

    shift.forward = forward
    try:
        yield
    finally:
        shift.forward = original


class _Wide:
    """torch, with `torch.float` meaning f64: the peer's codebook counts in f32 whatever type it is given."""

    float = torch.double

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def wide_codebook():
    codebook.torch = _Wide()
    try:
        yield
    finally:
        codebook.torch = torch


def key_list(name, target, config=None):
    """Writes Fixtures/keys/NAME.json: the state dict of a factory's model, keys with shapes."""
    folder = os.path.join(ROOT, "keys")
    os.makedirs(folder, exist_ok=True)
    shapes = {key: list(value.shape) for key, value in target.state_dict().items()}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(shape)}" for key, shape in shapes.items())
    with open(os.path.join(folder, f"{name}.json"), "w") as file:
        file.write('{"config": %s, "keys": {\n%s\n}}\n' % (json.dumps(config or {}), lines))
    print(f"{name}: {len(shapes)} keys")


def case(label, name, config=None, inputs=None, *, target=None, method="forward", args=None, mode="eval", vjp=True,
         seed=0, scale=0.05, note=None, prepare=None):
    """Writes Fixtures/forward/LABEL. `inputs` is a function, called after the seed is set.

    `prepare(target, inputs, mode)` may fit the weights to the inputs before anything is run.
    """
    torch.manual_seed(seed + 1)
    config = config or {}
    if target is None:
        target = perturb(build({"class": name, **config}), scale)
    tensors = inputs()
    if prepare:
        prepare(target, tensors, mode)
    args = args or {}
    folder = os.path.join(ROOT, "forward", label)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    is_module = isinstance(target, nn.Module)
    weights = copied(target.state_dict()) if is_module else {}
    doubled = copy.deepcopy(target).double() if is_module else target
    repaired = copy.deepcopy(target) if is_module else None
    cotangents = {} if vjp else None
    expected = evaluate(target, tensors, method, args, mode, cotangents)
    wide = {key: value.double() if is_float(value) else value for key, value in tensors.items()}
    with wide_codebook():
        rounding, floor = noise(expected, evaluate(doubled, wide, method, args, mode, cotangents))
    if weights:
        save(os.path.join(folder, "weights.safetensors"), weights)
    save(os.path.join(folder, "inputs.safetensors"),
         {**tensors, **{"cotangent." + key: value for key, value in (cotangents or {}).items()}})
    save(os.path.join(folder, "expected.safetensors"), expected)
    sos = [key for key, _ in target.named_parameters() if key.endswith("sos")] if is_module else []
    if sos and vjp:
        with trainable_sos():
            again = evaluate(repaired, tensors, method, args, mode, cotangents)
        extra = {"grad." + key: again["grad." + key] for key in sos if "grad." + key in again}
        if extra:
            save(os.path.join(folder, "repaired.safetensors"), extra)
    description = dict(name=name, config=config, method=method, args=args, mode=mode, vjp=vjp,
                       noise=float(f"{rounding:.2g}"),
                       tolerance=dict(relative=float(f"{max(2e-5, 20 * rounding):.1g}"), floor=float(f"{floor:.3g}")))
    if note:
        description["note"] = note
    save_json(os.path.join(folder, "case.json"), description)
    if rounding > 1e-4 or not math.isfinite(rounding):
        print(f"  note: {label} is badly conditioned ({rounding:.1e})")
    print(f"{label}: {len(expected)} tensors, noise {rounding:.1e}")
