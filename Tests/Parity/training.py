"""Training trajectories: 20 steps of AdamW on a small VQVAE and a small GPT. Run: python training.py

Nothing in them is random: dropout is 0, and every code starts with enough usage that none falls under the restart
threshold of 1 within 20 steps (3 * 0.99 ** 20 = 2.45).
"""
import copy
import os
import shutil

import torch
import video_gpt
from fixture import ROOT, build, copied, magnitude, perturb, save, save_json, spread_codes, wide_codebook
from torch.nn import functional as F
from torchmultimodal.modules.losses.vqvae import CommitmentLoss
from torchmultimodal.utils.attention import get_causal_attention_mask
from torchmultimodal.utils.generate import get_logits_mask

STEPS = 20
OPTIMIZER = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.01)
CLIP = 1.0


def run(model, loss_of, batches, frozen):
    """Losses before each step, gradient norms before clipping, and the model afterwards."""
    trained = [p for name, p in model.named_parameters() if not name.startswith(tuple(frozen))]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(frozen)))
    optimizer = torch.optim.AdamW(trained, **{**OPTIMIZER, "betas": tuple(OPTIMIZER["betas"])})
    model.train()
    records = {}
    for batch in batches:
        optimizer.zero_grad()
        losses = loss_of(model, batch)
        losses["loss"].backward()
        losses["grad_norm"] = torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        for part in model.modules():  # the peer's codebook keeps the autograd graph of every step in its buffers
            if type(part).__name__ == "Codebook":
                part.embedding, part.code_avg = part.embedding.detach(), part.code_avg.detach()
                if part.training and not frozen and (part.code_usage < part.codebook_usage_threshold).any():
                    raise ValueError("a code fell under the restart threshold: the run would be random")
        for key, value in losses.items():
            records.setdefault(key, []).append(value.detach())
    return {key: torch.stack(value) for key, value in records.items()}


def trajectory(label, name, config, batches, loss_of, formula, frozen=(), prepare=None):
    folder = os.path.join(ROOT, "training", label)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = perturb(build({"class": name, **config}))
    if prepare:
        prepare(model)
    save(os.path.join(folder, "start.safetensors"), model.state_dict())
    save(os.path.join(folder, "batches.safetensors"),
         {f"{step}.{key}": value for step, batch in enumerate(batches) for key, value in batch.items()})
    wide = copy.deepcopy(model).double()
    records = run(model, loss_of, batches, frozen)
    with wide_codebook():
        doubled = run(wide, loss_of, [{key: value.double() if value.dtype.is_floating_point else value
                                       for key, value in batch.items()} for batch in batches], frozen)
    before = {key: value for key, value in wide.state_dict().items()}
    final = copied(model.state_dict())
    # A parameter whose gradient is pure rounding (a bias before a batch norm) still moves by lr each step under Adam,
    # in a direction that nobody can predict; such tensors are listed, not compared.
    drift = {key: (value.double() - before[key].double()).abs().max().item() / max(magnitude(value), 1e-3)
             for key, value in final.items()}
    unpredictable = sorted(key for key, value in drift.items() if value > 1e-3)
    loss_drift = {key: (records[key].double() - doubled[key]).abs().div(doubled[key].abs()).max().item()
                  for key in records}
    save(os.path.join(folder, "expected.safetensors"),
         {**records, **{"final." + key: value for key, value in final.items() if key not in unpredictable}})
    save_json(os.path.join(folder, "case.json"), dict(
        name=name, config=config, steps=len(batches), optimizer="AdamW", optimizer_config=OPTIMIZER,
        clip_norm=CLIP, loss=formula, frozen=sorted(frozen), unpredictable=unpredictable,
        noise=dict(**loss_drift, final=max(v for k, v in drift.items() if k not in unpredictable))))
    print(label, "loss", records["loss"][0].item(), "->", records["loss"][-1].item(), loss_drift,
          "final", max(v for k, v in drift.items() if k not in unpredictable), "unpredictable", unpredictable)
    print({f: os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder)})


def vqvae_loss(model, batch):
    out = model(batch["x"])
    reconstruction = F.mse_loss(out.decoded, batch["x"])
    commitment = CommitmentLoss(0.25)(out.codebook_output.quantized_flat, out.codebook_output.encoded_flat)
    return dict(loss=reconstruction + commitment, reconstruction=reconstruction, commitment=commitment)


def gpt_loss(model, batch):
    ins, outs = batch["in_tokens"], batch["out_tokens"]
    length = ins.shape[1] + outs.shape[1]
    logits = model(in_tokens=ins, out_tokens=outs, attn_mask=get_causal_attention_mask(length),
                   logits_mask=get_logits_mask(ins.shape[1], outs.shape[1], model.num_in_tokens,
                                               model.num_out_tokens)).logits
    targets = torch.cat([ins, outs + model.num_in_tokens], 1)
    return dict(loss=F.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def clips(count):
    """Moving stripes: data with something to learn."""
    time, height, width = torch.meshgrid(torch.arange(4.0), torch.arange(8.0), torch.arange(8.0), indexing="ij")
    out = []
    for _ in range(count):
        waves = [torch.sin(a * width + b * height + c * time + d)
                 for a, b, c, d in (torch.rand(6, 4) * torch.tensor([1.5, 1.5, 1.5, 6.0])).tolist()]
        clip = torch.stack([torch.stack(waves[:3]), torch.stack(waves[3:])])
        out.append(dict(x=clip + 0.1 * torch.randn(2, 3, 4, 8, 8)))
    return out


if __name__ == "__main__":
    torch.manual_seed(5)
    batches = clips(4) * (STEPS // 4)
    trajectory("vqvae", "video_gpt.model.video_vqvae", dict(
        encoder_hidden_dim=8, n_res_layers=1, attn_hidden_dim=8, num_embeddings=8, embedding_dim=4,
        decoder_hidden_dim=8), batches, vqvae_loss,
        "mse(decoded, x) + 0.25 * mse(stop_gradient(quantized_flat), encoded_flat), each a mean over all elements; "
        "the codebook's moving averages are updated by the forward pass, buffers are in final.*",
        prepare=lambda model: spread_codes(model, batches[0], "train"))
    codec = {"class": "video_gpt.model.video_vqvae", **video_gpt.TINY}
    config = video_gpt.composition(5, 9, (2, 2, 2), 24, 4, 2, codec, 6)
    stories = []
    for _ in range(4):  # the second half of the ids follows from the first
        ins = torch.randint(0, 14, (4, 5))
        stories.append(dict(in_tokens=ins, out_tokens=torch.cat([ins, ins.flip(1)[:, :3]], 1)))
    trajectory("gpt", "MultimodalGPT", config, stories * (STEPS // 4), gpt_loss,
               "mean over all batch x 13 positions of cross_entropy(logits, target); target of slot j is token j, an "
               "output id k counts as class num_in_tokens + k; attn_mask is lower triangular, logits_mask lets input "
               "slots see input classes and output slots output classes; training mode shifts right by itself",
               frozen=["mm_decoder.right_shift.sos", "out_tokenizer."])
