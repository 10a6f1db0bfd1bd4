"""CLIP, its encoders, and torchvision's vision transformer. Run: python clip.py"""
from functools import partial

import torch
from fixture import case, classes  # first: it makes torchvision loadable beside a CPU build of torch
import torchvision
from torch import nn

randn = torch.randn


class VisionTransformer(torchvision.models.VisionTransformer):
    """With `tokens`: what ALBEF's feature extractor takes out of it."""

    def __init__(self, layer_norm_eps=1e-6, **kwargs):
        super().__init__(norm_layer=partial(nn.LayerNorm, eps=layer_norm_eps), **kwargs)

    def tokens(self, x):
        x = self._process_input(x)
        return self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1))


classes(**{"torchvision.VisionTransformer": VisionTransformer})
SMALL_VIT = dict(image_size=12, patch_size=4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=5)


def vision_transformer():
    name = "torchvision.VisionTransformer"
    images = lambda: dict(x=randn(2, 3, 12, 12))
    case("torchvision.VisionTransformer", name, SMALL_VIT, images)
    case("torchvision.VisionTransformer-train", name, SMALL_VIT, images, mode="train")
    case("torchvision.VisionTransformer-tokens", name, dict(SMALL_VIT, layer_norm_eps=1e-3), images, method="tokens")
    case("torchvision.VisionTransformer-representation", name,
         dict(SMALL_VIT, representation_size=6, patch_size=6, num_heads=4), images)


if __name__ == "__main__":
    vision_transformer()
