"""The full-size reference job on the peer: 128 text slots -> 512 video ids -> 32 frames of 256 x 256.

    python reference_job.py time [--threads N] [--batch N] [--dtype f32|bf16]   one JSON line of stage times
    python reference_job.py export DIR [--seed N] [--small]                     weights, prompts, greedy ids, frames

The weights are random (moved off their start, see `fixture.perturb`): speed does not depend on them, and equality can
be judged on any. `export` writes model.safetensors, config.json and io.safetensors, as in Fixtures/mugen_small.
"""
import argparse
import json
import os
import resource
import time

import torch
import video_gpt
from fixture import METADATA, VERSIONS, build, copied, perturb, save_json
from safetensors.torch import save_file
from torchmultimodal.utils.generate import GenerationUtil

FULL = dict(text=128, vocabulary=1024, latent=(8, 8, 8), d=768, heads=8, depth=12, codes=2048, width=256, channels=240,
            blocks=4, strides=[[2, 2, 2]] * 2 + [[1, 2, 2]] * 3)
SMALL = dict(text=12, vocabulary=28, latent=(2, 4, 4), d=96, heads=4, depth=3, codes=64, width=32, channels=24,
             blocks=1, strides=[[2, 2, 2]] * 2)


def describe(p):
    codec = {"class": "video_gpt.model.video_vqvae", "conv_filter_sizes": [[3, 3, 3]] * len(p["strides"]),
             "conv_filter_strides": p["strides"], "encoder_hidden_dim": p["channels"], "n_res_layers": p["blocks"],
             "attn_hidden_dim": p["channels"], "num_embeddings": p["codes"], "embedding_dim": p["width"],
             "decoder_hidden_dim": p["channels"]}
    return video_gpt.composition(p["text"], p["vocabulary"], p["latent"], p["d"], p["heads"], p["depth"], codec,
                                 p["width"])


class Clock:
    """Greedy decoding of prompts, with the time of the two stages."""

    def __init__(self, model):
        self.model, self.stages = model, {}

    def run(self, ids):
        model, decode = self.model, self.model.decode
        for layer in model.mm_decoder.decoder.layers:
            layer.attention.cache = None  # the peer never clears it

        def timed(tokens):
            began = time.perf_counter()
            self.stages["gpt"] = began - self.began
            frames = decode(tokens)
            self.stages["vqvae"] = time.perf_counter() - began
            return frames

        job = GenerationUtil(model)
        choose = job._filter_logits
        job._filter_logits = lambda logits, **options: choose(logits.clone(), **options)  # the peer overwrites them
        model.decode = timed
        try:
            self.began = time.perf_counter()
            length = model.latent_shape[0] * model.latent_shape[1] * model.latent_shape[2]
            out = job.sample(ids, max_seq_len=length, use_cache=True, causal=True, top_k=1)
            self.stages["total"] = time.perf_counter() - self.began
            return out
        finally:
            del model.decode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "export"])
    parser.add_argument("dir", nargs="?")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    if options.what == "export" and not options.dir:
        parser.error("export needs a folder")
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    sizes = SMALL if options.small else FULL
    config = describe(sizes)
    model = perturb(build({"class": "MultimodalGPT", **config})).eval()
    ids = torch.randint(0, config["num_in_tokens"], (options.batch, sizes["text"]))
    if options.dtype == "bf16":
        model = model.to(torch.bfloat16)
    clock = Clock(model)
    out = clock.run(ids)
    if options.what == "time":
        made = out.tokens.numel()
        print(json.dumps(dict(
            VERSIONS, dtype=options.dtype, threads=options.threads, batch=options.batch,
            tokens_per_s=round(made / clock.stages["gpt"], 2),
            peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            **{f"{stage}_s": round(seconds, 3) for stage, seconds in clock.stages.items()})))
        return
    os.makedirs(options.dir, exist_ok=True)
    scores = torch.cat([step.logits for step in out.model_outputs], 1)[:, :, config["num_in_tokens"]:]
    save_file(copied(model.state_dict()), os.path.join(options.dir, "model.safetensors"), metadata=METADATA)
    save_file(copied(dict(prompt_ids=ids, greedy_ids=out.tokens, logits=scores, frames=out.decoded)),
              os.path.join(options.dir, "io.safetensors"), metadata=METADATA)
    save_json(os.path.join(options.dir, "config.json"), {"model": "MultimodalGPT", **config})
    best = scores.topk(2).values
    print("margin between the two best scores, at the closest step:", (best[..., 0] - best[..., 1]).min().item())


if __name__ == "__main__":
    main()
