"""Losses of the generation models. Run: python losses.py"""
import math

import torch
from fixture import case, classes
from torchmultimodal.modules.losses.contrastive_loss_with_temperature import ContrastiveLossWithTemperature
from torchmultimodal.modules.losses.reconstruction_loss import ReconstructionLoss
from torchmultimodal.modules.losses.vqvae import CommitmentLoss

randn = torch.randn
classes(CommitmentLoss=CommitmentLoss, ContrastiveLossWithTemperature=ContrastiveLossWithTemperature,
        ReconstructionLoss=ReconstructionLoss)


def unit(*shape):
    return torch.nn.functional.normalize(randn(*shape), dim=-1)


if __name__ == "__main__":
    pair = lambda: dict(quantized=randn(7, 4), encoded=randn(7, 4))
    case("CommitmentLoss", "CommitmentLoss", {}, pair, note="quantized is detached: it has no gradient")
    case("CommitmentLoss-cost", "CommitmentLoss", dict(commitment_cost=0.25), pair)
    both = lambda: dict(embeddings_a=unit(5, 6), embeddings_b=unit(5, 6))
    case("ContrastiveLossWithTemperature", "ContrastiveLossWithTemperature", {}, both)
    case("ContrastiveLossWithTemperature-clamped", "ContrastiveLossWithTemperature",
         dict(logit_scale=6.0, logit_scale_max=math.log(100)), both,
         note="the peer clamps the parameter in place before use; its gradient is taken at the clamped value")
    case("ContrastiveLossWithTemperature-mugen", "ContrastiveLossWithTemperature",
         dict(logit_scale=0.07, logit_scale_max=math.log(100)), both)
    case("ContrastiveLossWithTemperature-smoothed", "ContrastiveLossWithTemperature", {}, both,
         args=dict(cross_entropy_kwargs=dict(label_smoothing=0.1)))
    case("ReconstructionLoss", "ReconstructionLoss", {},
         lambda: dict(pred=randn(2, 4, 6), target=randn(2, 4, 6), mask=torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]])))
    case("ReconstructionLoss-plain", "ReconstructionLoss", dict(normalize_target=False),
         lambda: dict(pred=randn(2, 4, 6), target=randn(2, 4, 6), mask=torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]])))
