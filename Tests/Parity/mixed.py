"""Loss and gradients in bfloat16: the small VQVAE and GPT of training.py under torch.autocast, and in float64.

Run after training.py: python mixed.py. For one batch of each, `autocast.safetensors` gets `loss` and `grad.KEY` as PyTorch's
automatic mixed precision gives them on a CPU, and `exact.loss`, `exact.grad.KEY` of the same in float64. The codebook stays
out of it, as in the engine: it sees the encoder's result as float32. The VQVAE's batch is one whose codes are all chosen as
in float64: another code is another loss.
"""
import os

import torch
import video_gpt
from fixture import ROOT, build, save, wide_codebook
from safetensors.torch import load_file
from training import gpt_loss, vqvae_loss


def gradients(model, loss_of, batch):
    model.zero_grad()
    loss = loss_of(model, batch)["loss"]
    loss.backward()
    found = {"loss": loss.detach().float()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            found["grad." + name] = parameter.grad.detach().float().clone()
    return found


def outside_autocast(codebook):
    """Lets a codebook work in float32 on what autocast made."""
    inner = codebook.forward

    def forward(z):
        with torch.autocast("cpu", enabled=False):
            return inner(z.float())

    codebook.forward = forward


def case(label, name, config, loss_of, step, frozen=()):
    folder = os.path.join(ROOT, "training", label)
    start = load_file(os.path.join(folder, "start.safetensors"))
    batches = load_file(os.path.join(folder, "batches.safetensors"))
    batch = {key[2:]: value for key, value in batches.items() if key.startswith(f"{step}.")}

    def model():
        made = build({"class": name, **config})
        made.load_state_dict(start)
        for part in made.modules():
            if type(part).__name__ == "Codebook":
                part._is_embedding_init = True
        for key, parameter in made.named_parameters():
            parameter.requires_grad_(not key.startswith(tuple(frozen)))
        return made.train()

    rounded = model()
    for part in rounded.modules():
        if type(part).__name__ == "Codebook":
            outside_autocast(part)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(rounded, loss_of, batch)
    with wide_codebook():
        exact = gradients(model().double(), loss_of, {key: value.double() if value.dtype.is_floating_point else value
                                                      for key, value in batch.items()})
    keys = [key for key in exact if key.startswith("grad.")]
    off = sum((found[key] - exact[key]).square().sum() for key in keys).sqrt()
    size = sum(exact[key].square().sum() for key in keys).sqrt()
    print(label, "loss", found["loss"].item(), "exact", exact["loss"].item(), "gradient off by", (off / size).item())
    save(os.path.join(folder, "autocast.safetensors"), {**found, **{"exact." + key: value for key, value in exact.items()}})


if __name__ == "__main__":
    case("vqvae", "video_gpt.model.video_vqvae", dict(
        encoder_hidden_dim=8, n_res_layers=1, attn_hidden_dim=8, num_embeddings=8, embedding_dim=4,
        decoder_hidden_dim=8), vqvae_loss, 3)
    codec = {"class": "video_gpt.model.video_vqvae", **video_gpt.TINY}
    case("gpt", "MultimodalGPT", video_gpt.composition(5, 9, (2, 2, 2), 24, 4, 2, codec, 6), gpt_loss, 0,
         frozen=["mm_decoder.right_shift.sos", "out_tokenizer."])
