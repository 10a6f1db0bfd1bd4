"""Contrastive steps of two processes (gloo), for every way back through gathered embeddings. Run: python gather.py

Two linear towers, their outputs brought to length 1, and the peer's loss. Gradients are averaged over the processes, as
DistributedDataParallel does it; `whole.*` are those of one process with the whole batch.
"""
import os
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fixture import ROOT, save
from torch.nn import functional as F
from torchmultimodal.modules.losses.contrastive_loss_with_temperature import ContrastiveLossWithTemperature
from torchmultimodal.utils.distributed import BackpropType

WORLD, BATCH, WIDTHS, EMBEDDING = 2, 4, (6, 5), 3


def parts():
    torch.manual_seed(11)
    values = {"a": torch.randn(WORLD * BATCH, WIDTHS[0]), "b": torch.randn(WORLD * BATCH, WIDTHS[1])}
    for name, width in zip("ab", WIDTHS):
        values[f"tower_{name}.weight"] = torch.randn(EMBEDDING, width) * 0.5
        values[f"tower_{name}.bias"] = torch.randn(EMBEDDING) * 0.1
    return values


def step(values, rows, kind):
    """Loss and gradients of one process."""
    towers = {name: torch.nn.Linear(width, EMBEDDING) for name, width in zip("ab", WIDTHS)}
    loss = ContrastiveLossWithTemperature()
    for name, tower in towers.items():
        tower.load_state_dict({key: values[f"tower_{name}.{key}"] for key in ("weight", "bias")})
    embeddings = [F.normalize(towers[name](values[name][rows]), dim=-1) for name in "ab"]
    result = loss(*embeddings, backprop_type=kind)
    result.backward()
    grads = {f"tower_{name}.{key}": p.grad for name, tower in towers.items() for key, p in tower.named_parameters()}
    return {"loss": result.detach(), "grad.loss.logit_scale": loss.logit_scale.grad,
            **{f"grad.{key}": value for key, value in grads.items()}}


def work(rank, meeting, folder):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=WORLD)
    values, found = parts(), {}
    for kind in BackpropType:
        rows = slice(rank * BATCH, (rank + 1) * BATCH)
        for key, value in step(values, rows, kind).items():
            dist.all_reduce(value)
            found[f"{kind.name.lower()}.{key}"] = value / WORLD
    if rank == 0:
        torch.save(found, os.path.join(folder, "found"))
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (os.path.join(folder, "meeting"), folder), nprocs=WORLD)
        found = torch.load(os.path.join(folder, "found"))
    values = parts()
    whole = {f"whole.{key}": value for key, value in step(values, slice(None), BackpropType.GLOBAL).items()}
    # Without a group the kinds are one; of two processes only `global` is the step of one.
    for key, value in whole.items():
        torch.testing.assert_close(found[key.replace("whole", "global")], value, rtol=1e-4, atol=1e-6)
    os.makedirs(os.path.join(ROOT, "gather"), exist_ok=True)
    save(os.path.join(ROOT, "gather", "steps.safetensors"), {**values, **found, **whole})
