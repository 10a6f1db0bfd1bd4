"""CLIP, its encoders, and torchvision's vision transformer. Run: python clip.py"""
from functools import partial

import torch
from fixture import case, classes, key_list  # first: it makes torchvision loadable beside a CPU build of torch
import torchvision
from torch import nn
from torchmultimodal.models.clip import model as factories
from torchmultimodal.models.clip.image_encoder import (AttentionPool2d, CLIPViTEncoder, ResNetForCLIP,
                                                       ResNetForCLIPBottleneck)
from torchmultimodal.models.clip.model import CLIP
from torchmultimodal.models.clip.text_encoder import CLIPTextEncoder

randn = torch.randn


class VisionTransformer(torchvision.models.VisionTransformer):
    """With `tokens`: what ALBEF's feature extractor takes out of it."""

    def __init__(self, layer_norm_eps=1e-6, **kwargs):
        super().__init__(norm_layer=partial(nn.LayerNorm, eps=layer_norm_eps), **kwargs)

    def tokens(self, x):
        x = self._process_input(x)
        return self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1))


classes(CLIP=CLIP, CLIPViTEncoder=CLIPViTEncoder, ResNetForCLIP=ResNetForCLIP, CLIPTextEncoder=CLIPTextEncoder,
        ResNetForCLIPBottleneck=ResNetForCLIPBottleneck, AttentionPool2d=AttentionPool2d)
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


VIT = dict(embedding_dim=6, patch_size=4, image_size=12, width=8, heads=2, layers=2)
RESNET = dict(layers=(1, 1, 1, 1), output_dim=6, heads=4, input_resolution=64, width=2)
SINGLE = dict(RESNET, input_resolution=32)
TEXT = dict(embedding_dim=6, context_length=9, vocab_size=20, width=8, dim_feedforward=12, heads=2, layers=2)


def texts(vocabulary=20, length=9):
    """Ends (the largest id) in different places, one of them the last, one the first; padding behind them."""
    ids = torch.randint(1, vocabulary - 2, (4, length))
    for row, end in enumerate([length // 2, length - 1, 0, 2]):
        ids[row, end] = vocabulary - 1
        ids[row, end + 1:] = 0
    return ids


def prefixed(name, spec):
    return {"class": name, **spec}


def encoders():
    for mode in ("eval", "train"):
        suffix = "-train" if mode == "train" else ""
        case("CLIPViTEncoder" + suffix, "CLIPViTEncoder", VIT, lambda: dict(x=randn(2, 3, 12, 12)), mode=mode)
        case("CLIPTextEncoder" + suffix, "CLIPTextEncoder", TEXT, lambda: dict(text=texts()), mode=mode)
        case("ResNetForCLIPBottleneck-stride" + suffix, "ResNetForCLIPBottleneck", dict(inplanes=8, planes=3, stride=2),
             lambda: dict(x=randn(2, 8, 5, 6)), mode=mode)
    case("CLIPViTEncoder-rest", "CLIPViTEncoder", dict(VIT, patch_size=5, image_size=13, heads=4, layers=1),
         lambda: dict(x=randn(1, 3, 13, 13)), note="patches do not divide the image: what is left over is not looked at")
    case("ResNetForCLIP", "ResNetForCLIP", RESNET, lambda: dict(x=randn(2, 3, 64, 64)), scale=0.1)
    case("ResNetForCLIP-train", "ResNetForCLIP", SINGLE, lambda: dict(x=randn(3, 3, 32, 32)), mode="train", scale=0.1)
    case("ResNetForCLIP-odd", "ResNetForCLIP", dict(RESNET, heads=8, use_clip_init=False),
         lambda: dict(x=randn(1, 3, 70, 75)), scale=0.1, note="odd sizes on the way; the last maps are 2 x 2 all the same")
    case("ResNetForCLIP-single", "ResNetForCLIP", dict(SINGLE, layers=(1, 2, 1, 1)),
         lambda: dict(x=randn(2, 3, 32, 32)), scale=0.1)
    case("CLIPTextEncoder-states", "CLIPTextEncoder", dict(TEXT, use_clip_init=False, heads=4, layers=1),
         lambda: dict(text=texts()), args=dict(return_hidden_state=True), scale=0.02,
         prepare=lambda target, *_: nn.init.normal_(target.positional_embedding))
    case("CLIPTextEncoder-short", "CLIPTextEncoder", TEXT,
         lambda: dict(text=torch.tensor([[19, 0, 0, 0, 0, 0, 0, 0, 0], [3, 19, 19, 4, 0, 0, 0, 0, 0]])),
         note="the first of equal largest ids is the end; nothing behind the second place is read")
    case("CLIPTextEncoder-mask", "CLIPTextEncoder", TEXT, dict, method="build_attention_mask", vjp=False)
    case("ResNetForCLIPBottleneck", "ResNetForCLIPBottleneck", dict(inplanes=12, planes=3),
         lambda: dict(x=randn(2, 12, 4, 3)))
    case("AttentionPool2d", "AttentionPool2d", dict(spacial_dim=3, embed_dim=8, num_heads=2, output_dim=5),
         lambda: dict(x=randn(2, 8, 3, 3)))
    case("AttentionPool2d-same", "AttentionPool2d", dict(spacial_dim=2, embed_dim=8, num_heads=4),
         lambda: dict(x=randn(3, 8, 2, 2)), mode="train")


def pairs():
    text = prefixed("CLIPTextEncoder", TEXT)
    vit, resnet = prefixed("CLIPViTEncoder", VIT), prefixed("ResNetForCLIP", SINGLE)
    both = lambda size: lambda: dict(features_a=randn(4, 3, size, size), features_b=texts())
    case("CLIP-vit", "CLIP", dict(encoder_a=vit, encoder_b=text), both(12))
    case("CLIP-vit-train", "CLIP", dict(encoder_a=vit, encoder_b=text), both(12), mode="train")
    case("CLIP-resnet-train", "CLIP", dict(encoder_a=resnet, encoder_b=text), both(32), scale=0.1, mode="train")
    case("CLIP-texts", "CLIP", dict(encoder_a=text, encoder_b=text),
         lambda: dict(features_a=texts(), features_b=texts()), note="any two encoders make a pair")


def keys():
    """The state dict of every factory, without its values."""
    for name in ["clip_vit_b16", "clip_vit_b32", "clip_vit_l14", "clip_rn50", "clip_rn101", "clip_rn50x4",
                 "clip_rn50x16", "clip_rn50x64", "clip_rn50_tv", "clip_rn101_tv"]:
        with torch.device("meta"):
            key_list(name, getattr(factories, name)())


if __name__ == "__main__":
    vision_transformer()
    encoders()
    pairs()
    keys()
