"""Omnivore and its encoder, the video Swin transformer. Run: python omnivore.py"""
import torch
from fixture import case, classes, key_list
from torch import nn
from torchmultimodal.models import omnivore
from torchmultimodal.modules.encoders.swin_transformer_3d_encoder import SwinTransformer3d
from torchvision.models.video.swin_transformer import PatchEmbed3d

randn = torch.randn


def encoder(**options):
    # The peer copies these lists, and fixture.build makes tuples.
    return SwinTransformer3d(**{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()})


def model(encoder, heads):
    """Omnivore with heads of any sizes."""
    parts = {kind: nn.Linear(encoder.num_features, count) for kind, count in heads.items()}
    if "video" in parts:
        parts["video"] = nn.Sequential(nn.Dropout(0.0), parts["video"])
    return omnivore.Omnivore(encoder, nn.ModuleDict(parts))


def any_size(heads, **options):
    """What the engine's `omnivore` takes."""
    return model(encoder(norm_layer=nn.LayerNorm, patch_embed=omnivore.PatchEmbedOmnivore, num_classes=None, **options),
                 heads)


classes(SwinTransformer3d=encoder, PatchEmbedOmnivore=omnivore.PatchEmbedOmnivore, PatchEmbed3d=PatchEmbed3d,
        Omnivore=model, omnivore=any_size)

SMALL = dict(patch_size=[2, 4, 4], embed_dim=8, depths=[2, 2], num_heads=[2, 4], window_size=[2, 3, 3],
             norm_layer="nn.LayerNorm", patch_embed="PatchEmbedOmnivore", num_classes=None)


def encoders():
    case("SwinTransformer3d-odd", "SwinTransformer3d", SMALL, lambda: dict(x=randn(2, 3, 4, 21, 26)), mode="train",
         note="columns are padded to whole windows, rows and columns to whole patches")
    case("SwinTransformer3d-one-frame", "SwinTransformer3d", dict(SMALL, window_size=[4, 3, 3]),
         lambda: dict(x=randn(1, 3, 1, 8, 20)),
         note="windows are cut to one frame and two rows; the bias is then that of the first tokens of a whole window")
    case("SwinTransformer3d-time", "SwinTransformer3d",
         dict(SMALL, embed_dim=4, depths=[1, 2, 2], num_heads=[1, 2, 4], window_size=[2, 2, 2], mlp_ratio=2.0, patch_embed="PatchEmbed3d",
              num_classes=5, patch_size=[1, 3, 2]),
         lambda: dict(x=randn(1, 3, 5, 16, 11)), note="frames are shifted too, three stages, a head")
    plain = {k: v for k, v in SMALL.items() if k not in ("norm_layer", "patch_embed")}
    case("SwinTransformer3d-defaults", "SwinTransformer3d", dict(plain, depths=[2], num_heads=[1]),
         lambda: dict(x=randn(1, 3, 4, 12, 20)))


def models():
    config = dict(encoder={"class": "SwinTransformer3d", **SMALL}, heads=dict(image=6, rgbd=4, video=5))
    for kind, shape in (("image", (2, 3, 1, 16, 20)), ("rgbd", (1, 4, 1, 20, 16)), ("video", (1, 3, 5, 24, 28))):
        for mode in ("eval", "train") if kind == "image" else ("eval",):
            case(f"Omnivore-{kind}-{mode}", "Omnivore", config, lambda: dict(x=randn(shape)),
                 args=dict(input_type=kind), mode=mode)
    case("omnivore-any-size", "omnivore",
         dict(patch_size=[2, 4, 4], embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=[2, 3, 3], mlp_ratio=2.0,
              stochastic_depth_prob=0.0, heads=dict(image=3, rgbd=4)),
         lambda: dict(x=randn(2, 4, 1, 16, 20)), args=dict(input_type="rgbd"), mode="train",
         note="no head for videos")


if __name__ == "__main__":
    encoders()
    models()
    for size in "tsb":
        for part in ("", "_encoder"):
            name = f"omnivore_swin_{size}{part}"
            key_list(name, getattr(omnivore, name)())
