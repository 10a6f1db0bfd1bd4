"""A training step of TorchMultimodal's modules, to be measured beside `mmgen bench`; prints JSON lines.

    python torchmultimodal_training.py gpt   --dtype f32,bf16 [--length 1024] [--threads N]
    python torchmultimodal_training.py vqvae --dtype f32,bf16 [--clip 32x256x256] [--threads N]

The modules are built by Tests/Parity, in MUGEN's shape and without dropout: forward, loss, backward, the gradient's
norm, AdamW. bf16 is autocast.
"""
import argparse
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Tests", "Parity"))
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import reference_job  # noqa: E402
from fixture import build, perturb  # noqa: E402
from torchmultimodal.utils.attention import get_causal_attention_mask  # noqa: E402


def gpt_loss(options):
    text = options.length - 512
    sizes = dict(reference_job.SMALL if options.small else reference_job.FULL, text=12 if options.small else text)
    config = reference_job.describe(sizes)
    model = perturb(build({"class": "MultimodalGPT", **config}), 0.02).train()
    model.out_tokenizer.eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attn_dropout"):
            module.attn_dropout = 0.0
    inputs, outputs = config["num_in_tokens"], config["num_out_tokens"]
    places = sizes["latent"][0] * sizes["latent"][1] * sizes["latent"][2]
    own = torch.randint(0, inputs, (1, sizes["text"]))
    other = torch.randint(0, outputs, (1, places))
    length = sizes["text"] + places
    mask = get_causal_attention_mask(length).bool()
    targets = torch.cat([own, other + inputs], 1)

    def loss():
        out = model(in_tokens=own, out_tokens=other, attn_mask=mask, right_shift=True)
        return F.cross_entropy(out.logits.float().flatten(0, 1), targets.flatten())

    return model, loss, dict(stage="train-gpt", length=length)


def vqvae_loss(options):
    sizes = reference_job.SMALL if options.small else reference_job.FULL
    model = build(reference_job.describe(sizes)["out_tokenizer"]).train()
    shape = [4, 16, 16] if options.small else [int(size) for size in options.clip.split("x")]
    x = torch.rand(1, 3, *shape) - 0.5

    def loss():
        out = model(x)
        codes = out.codebook_output
        return F.mse_loss(out.decoded, x) + 0.25 * F.mse_loss(codes.encoded_flat, codes.quantized_flat.detach())

    return model, loss, dict(stage="train-vqvae", clip=shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["gpt", "vqvae"])
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--clip", default="32x256x256")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(options.threads)
    for dtype in options.dtype.split(","):
        torch.manual_seed(0)
        model, loss, row = (gpt_loss if options.what == "gpt" else vqvae_loss)(options)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-5)

        def step():
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bf16"):
                value = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        step()
        values = []
        for _ in range(options.repetitions):
            began = time.perf_counter()
            step()
            values.append(time.perf_counter() - began)
        print(json.dumps(dict(
            row, dtype=dtype, seconds=statistics.median(values), least=min(values), most=max(values),
            rate=1 / statistics.median(values))), flush=True)


if __name__ == "__main__":
    main()
