"""Forward passes and training steps of the models that understand pictures and text, beside PyTorch; prints the ratios.

    python understanding.py [MODEL ...] [--batch 1,8] [--passes forward,step] [--quick] [-o RESULT.json]

PyTorch and `mmgen forward --repeat` are started in turn (A B A B), each anew, with the same inputs and arguments. Forward
is the factory's model in evaluation mode without a tape; a step is a forward pass in training mode (dropout on both sides)
and the backward pass from one cotangent per named output, without an optimizer. "At the limit" is how long the products
and convolutions of the definition take at the rate that the machine's arithmetic reaches at most (measured by `mmgen bench`
around every round): what computes them as defined cannot be faster, so "ratio there" is the most that such a program can be
ahead of PyTorch here. Minimal filters and results that nobody reads need less. The driver needs Python 3.9 and nothing
else; `--python` names one with PyTorch, TorchMultimodal and safetensors, which runs this file again with `--measure`.

`albef-*` and `videoclip` are examples of facebookresearch/multimodal, which its package does not install:
MULTIMODAL_EXAMPLES is a checkout; `videoclip` needs transformers as well.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

# name: (factory, arguments of the call, tensors that cotangents stand for, least batch of a step)
MODELS = {
    "clip": ("clip_vit_b16", {}, ["embeddings_a", "embeddings_b"], 1),
    "flava": ("flava_model", {"skip_unmasked_mm_encoder": False}, ["multimodal.last_hidden_state"], 1),
    "flava-pretraining": ("flava_model_for_pretraining", {}, [
        f"losses.{name}_loss" for name in ("mmm_text", "mmm_image", "itm", "global_contrastive")], 1),
    "albef-image": ("albef_model_for_retrieval", {"is_train": False, "input_type": "image"}, None, 1),
    "albef-pair": ("albef_model_for_retrieval", {"is_train": False, "input_type": "multimodal"}, None, 1),
    "albef-retrieval": ("albef_model_for_retrieval", {"alpha": 0.4}, ["output"], 2),
    "mdetr": ("mdetr_resnet101", {}, ["pred_logits", "pred_boxes"], 1),
    "omnivore-image": ("omnivore_swin_t", {"input_type": "image"}, ["output"], 1),
    "omnivore-clip": ("omnivore_swin_t", {"input_type": "video"}, ["output"], 1),
    "videoclip": ("videoclip", {}, ["embeddings_a", "embeddings_b"], 1),
}
# What the engine is told beside: the peer always makes all probabilities, which nobody reads here.
OWN_ARGUMENTS = {"flava": {"return_attn_weights": False}}
# `albef-retrieval` is a loss: only a step makes use of it.
STEPS_ONLY = {"albef-retrieval"}
LABELS = {"omnivore-image": "a picture of 224x224", "omnivore-clip": "32 frames of 224x224", "mdetr": "480x640",
          "videoclip": "32 frames of 224x224"}


def passes_of(name):
    return [kind for kind in ("forward", "step")
            if (kind == "step" or name not in STEPS_ONLY) and (kind == "forward" or MODELS[name][2])]


# What follows runs with PyTorch.

def make_inputs(name, batch):
    import torch
    randn = torch.randn

    def ids(length, most=30522, start=101):
        text = torch.randint(1000, most, (batch, length))
        text[:, 0] = start
        return text

    words = ids(77)
    pictures = lambda size, *frames: randn(batch, 3, *frames, size, size)
    if name == "clip":
        return dict(features_a=pictures(224), features_b=ids(77, 49000))
    if name == "flava":
        return dict(image=pictures(224), text=words)
    if name == "flava-pretraining":
        hidden = torch.rand(batch, 77) < 0.15
        hidden[:, 5] = True
        patches = torch.zeros(batch, 196, dtype=torch.long)
        patches[:, 60:135] = 1
        return dict(image=pictures(224), text=words, image_for_codebook=torch.rand(batch, 3, 112, 112),
                    image_patches_mask=patches, text_masked=torch.where(hidden, 103, words),
                    itm_labels=torch.ones(batch, dtype=torch.long), mlm_labels=torch.where(hidden, words, -1))
    if name == "albef-image":
        return dict(image=pictures(384))
    mask = torch.ones(batch, 30, dtype=torch.long)
    if name == "albef-pair":
        return dict(image=randn(batch, 577, 768), text=randn(batch, 30, 768), text_atts=mask)
    if name == "albef-retrieval":
        return dict(image=pictures(384), text=ids(30), text_atts=mask, idx=torch.arange(batch))
    if name == "mdetr":
        return dict(images=randn(batch, 3, 480, 640), text=ids(16, 50000, 0))
    if name == "omnivore-image":
        return dict(x=pictures(224, 1))
    if name == "omnivore-clip":
        return dict(x=pictures(224, 32))
    return dict(features_a=ids(40), features_b=pictures(224, 32))


def build(name):
    """The peer's model, without weights from the network."""
    factory = MODELS[name][0]
    if name.startswith("clip"):
        from torchmultimodal.models.clip.model import clip_vit_b16
        return clip_vit_b16()
    if name.startswith("flava"):
        from torchmultimodal.models.flava import model
        model.DalleVAEEncoder.load_model = lambda self: None
        return getattr(model, factory)()
    if name.startswith("albef"):
        import yaml
        sys.path.insert(0, os.environ["MULTIMODAL_EXAMPLES"])
        from examples.albef import model
        with open(os.path.join(os.path.dirname(model.__file__), "configs", "retrieval.yaml")) as file:
            config = yaml.safe_load(file)
        # YAML reads 1e-6 as text.
        parts = {part: {key: float(value) if key.endswith("eps") else value for key, value in values.items()}
                 for part, values in config.items() if isinstance(values, dict)}
        return model.albef_model_for_retrieval(dict(parts, hidden_size=768))
    if name.startswith("mdetr"):
        from torchmultimodal.models.mdetr import image_encoder, model
        original = image_encoder.mdetr_resnet101_backbone
        model.mdetr_resnet101_backbone = lambda: original(weights=None)
        return model.mdetr_resnet101()
    if name.startswith("omnivore"):
        from torchmultimodal.models.omnivore import omnivore_swin_t
        return omnivore_swin_t()
    # A script beside this one could have the name of a package that the example needs.
    sys.path[:1] = [os.environ["MULTIMODAL_EXAMPLES"]]
    from examples.mugen.retrieval import video_clip
    return video_clip.videoclip(text_pretrained=False, video_pretrained=False)


def picked(value, path):
    for key in path.split(".") if path != "output" else []:
        value = value[key] if isinstance(value, dict) else getattr(value, key)
    return value


def measure(options):
    """Writes the inputs, and prints the seconds of the peer's calls."""
    try:
        import peer_torchvision  # noqa: F401  (CPU-only installations declare torchvision's operators here)
    except ImportError:
        pass
    import torch
    from safetensors.torch import save_file
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    name, batch, is_step = options.measure, options.size, options.kind == "step"
    inputs = make_inputs(name, batch)
    model = build(name).train(is_step)
    arguments, outputs = MODELS[name][1], MODELS[name][2]
    given = dict(inputs, **arguments)
    if name == "mdetr":
        given = {key: list(value) for key, value in given.items()}
    cotangents = {}

    def call(without_gradients=torch.inference_mode):
        if not is_step:
            with without_gradients():
                return model(**given)
        found = model(**given)
        loss = 0
        for output in outputs:
            tensor = picked(found, output)
            if output not in cotangents:
                cotangents[output] = torch.full_like(tensor, 1 / tensor.numel())
            loss = loss + (tensor * cotangents[output]).sum()
        loss.backward()
        model.zero_grad(set_to_none=True)

    operations = counted(call)
    save_file({**{key: value.contiguous() for key, value in inputs.items()},
               **{f"cotangent.{key}": value.contiguous() for key, value in cotangents.items()}}, options.inputs)
    seconds = []
    for _ in range(options.repetitions):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(dict(seconds=seconds, operations=operations)), flush=True)


def counted(call):
    """The additions and multiplications in a call's products and convolutions, by their definition."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode
    # The counter does not know what is in PyTorch's fused layers.
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel([SDPBackend.MATH]), FlopCounterMode(display=False) as counter:
        call(torch.no_grad)  # nor what is done in inference mode
    torch.backends.mha.set_fastpath_enabled(True)
    call()
    return counter.get_total_flops()


# The driver.


def machine_limit(options):
    """The additions and multiplications that the machine does in a second at most, as mmgen measures it now."""
    report = output_of([options.mmgen, "bench", "--model", "text_video_gpt", "--set", "num_decoder_layers=1", "--stages",
                        "prefill", "--depths", "128", "--repetitions", "1", "--threads", str(options.threads), "--json"],
                       options)
    return json.loads(report)["machine"]["limits"][0]["arithmetic"]

def output_of(command, options):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENBLAS_")}
    environment["OMP_NUM_THREADS"] = str(options.threads)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None if options.verbose else subprocess.PIPE,
                          env=environment, text=True)
    if done.returncode:
        reason = (done.stderr or "").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{os.path.basename(command[0])}: {reason[0]}")
    return done.stdout


def result_of(command, options):
    return json.loads(output_of(command, options).strip().splitlines()[-1])


def row(name, kind, batch, options, folder):
    factory, arguments, _, _ = MODELS[name]
    inputs = os.path.join(folder, "inputs.safetensors")
    given = os.path.join(folder, "arguments.json")
    with open(given, "w") as file:
        json.dump({**arguments, **OWN_ARGUMENTS.get(name, {})}, file)
    count = str(options.repetitions)
    theirs = [options.python, os.path.abspath(__file__), "--measure", name, "--kind", kind, "--size", str(batch),
              "--inputs", inputs, "--repetitions", count, "--threads", str(options.threads)]
    # The inputs have cotangents for a step only.
    ours = [options.mmgen, "forward", factory, "--inputs", inputs, "--args", given, "--repeat", count, "--threads",
            str(options.threads)] + (["--mode", "train", "--vjp"] if kind == "step" else [])
    limit, rounds = machine_limit(options), []
    for _ in range(options.rounds):
        peer = result_of(theirs, options)
        rounds.append((peer["seconds"], result_of(ours, options)["seconds"]))
        limit = max(limit, machine_limit(options))
    least = peer["operations"] / limit
    medians = [(statistics.median(a), statistics.median(b)) for a, b in rounds]
    peer, own = (statistics.median(side) for side in zip(*medians))
    return dict(model=name, factory=factory, kind=kind, batch=batch, mmgen=own, pytorch=peer, ratio=peer / own,
                limit=limit, least=least, rounds=[a / b for a, b in medians],
                seconds=[dict(pytorch=a, mmgen=b) for a, b in rounds])


def driver(options):
    lines = ["| model | pass | batch | mmgen | PyTorch | ratio | round by round | at the limit | ratio there |",
             "|---|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    rows, failures = [], []
    for name in options.models or MODELS:
        for kind in passes_of(name):
            if kind not in options.passes:
                continue
            least = MODELS[name][3] if kind == "step" else 1
            for batch in sorted({max(least, size) for size in options.batch}):
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        found = row(name, kind, batch, options, folder)
                    except (RuntimeError, OSError, ValueError, KeyError, IndexError) as error:
                        failures.append(f"{name}, {kind}, batch {batch}: {error}")
                        print(f"# {failures[-1]}", file=sys.stderr, flush=True)
                        continue
                rows.append(found)
                label = f"{found['factory']}" + (f", {LABELS[name]}" if name in LABELS else "") + (
                    f", {name}" if name.startswith("albef") else "")
                lines.append(
                    f"| {label} | {kind} | {batch} | {found['mmgen'] * 1000:.0f} ms | {found['pytorch'] * 1000:.0f} ms | "
                    f"**{found['ratio']:.2f}** | {', '.join(f'{value:.2f}' for value in found['rounds'])} | "
                    f"{found['least'] * 1000:.0f} ms | {found['pytorch'] / found['least']:.2f} |")
                print(lines[-1], flush=True)
    if options.output:
        os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
        with open(options.output + ".new", "w") as file:
            json.dump(dict(
                table="understanding", threads=options.threads, rounds=options.rounds, repetitions=options.repetitions,
                date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), rows=rows,
                failures=failures, markdown=lines), file, indent=1)
            file.write("\n")
        os.replace(options.output + ".new", options.output)
    return 1 if failures or not rows else 0


def main():
    def listed(kind):
        return lambda text: [kind(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; all if none is named")
    parser.add_argument("--batch", type=listed(int), default=[1, 8])
    parser.add_argument("--passes", type=listed(str), default=["forward", "step"], help="forward, step")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="batch 1, 2 repetitions and 1 round, if not said otherwise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mmgen", default=os.environ.get("MMGEN", "mmgen"))
    parser.add_argument("--python", default=os.environ.get("TORCH_PYTHON"), help="a Python with PyTorch")
    parser.add_argument("-o", "--output", help="the result as JSON; it replaces what is there")
    parser.add_argument("--verbose", action="store_true", help="show what the programs say")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--inputs", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options)
    if options.quick:
        quick = dict(batch=[1], repetitions=2, rounds=1)
        for key, value in quick.items():
            if getattr(options, key) == parser.get_default(key):
                setattr(options, key, value)
    if not options.python:
        parser.error("--python or TORCH_PYTHON must name a Python with PyTorch")
    strangers = [name for name in options.models if name not in MODELS]
    if strangers:
        parser.error(f"there is no {strangers[0]}; there are {', '.join(MODELS)}")
    return driver(options)


if __name__ == "__main__":
    sys.exit(main())
