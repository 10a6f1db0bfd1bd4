"""torchvision's residual networks; MDETR with its parts, losses and matcher. Run: python mdetr.py [PREFIX]"""
import math
import sys

import fixture
import torch
from fixture import classes, key_list
from small_resnet import NAMES, ResNet
from torch import nn
from torchmultimodal.models.mdetr import image_encoder, model, text_encoder, transformer
from torchmultimodal.modules.layers.mlp import MLP

randn = torch.randn
WANTED = tuple(sys.argv[1:]) or ("",)


def case(label, *args, **kwargs):
    if label.startswith(WANTED):
        fixture.case(label, *args, **kwargs)


def pad_images(self, images):
    """What the peer's does, without writing into views, so that images have gradients."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    amounts = [(0, width - image.shape[2], 0, height - image.shape[1]) for image in images]
    mask = paddings(*(image.shape[1:] for image in images), within=(height, width))
    return torch.stack([nn.functional.pad(image, amount) for image, amount in zip(images, amounts)]), mask


model.MDETR._pad_images = pad_images


def mdetr(task=None, num_queries=100, num_classes=255, embedding_dim=768, transformer_d_model=256,
          transformer_num_heads=8, transformer_encoder_layers=6, transformer_decoder_layers=6,
          transformer_dim_feedforward=2048, transformer_dropout=0.1, return_intermediate_dec=True,
          num_extra_query_embeddings=None, backbone="resnet101", backbone_layers=(3, 4, 23, 3),
          backbone_stem_channels=64, backbone_norm=image_encoder.FrozenBatchNorm2d, vocab_size=50265,
          max_position_embeddings=514, text_num_layers=12, text_num_heads=12, text_dim_feedforward=3072,
          text_dropout=0.1, normalize_before=False, vqa_heads=None, contrastive_dim=64):
    """The engine's builder of any size, put together from the peer's parts."""
    block = NAMES["BasicBlock" if backbone in ("resnet18", "resnet34") else "Bottleneck"]
    body = ResNet(block, backbone_layers, backbone_stem_channels, norm_layer=backbone_norm)
    d = transformer_d_model
    heads = vqa_heads and nn.ModuleDict({name: nn.Linear(d, size) for name, size in vqa_heads.items()})
    text = text_encoder.mdetr_roberta_text_encoder(
        embedding_dim, vocab_size, max_position_embeddings=max_position_embeddings, ffn_dimension=text_dim_feedforward,
        num_attention_heads=text_num_heads, num_encoder_layers=text_num_layers, embedding_dropout_prob=text_dropout,
        encoder_dropout_prob=text_dropout)
    extra = len(heads) if heads else num_extra_query_embeddings
    whole = model.MDETR(
        image_encoder.MaskedIntermediateLayer(body, "layer4"), text,
        transformer.MDETRTransformer(
            d, transformer_num_heads, transformer_encoder_layers, transformer_decoder_layers,
            transformer_dim_feedforward, transformer_dropout, normalize_before=normalize_before,
            return_intermediate_dec=return_intermediate_dec),
        image_encoder.PositionEmbedding2D(d // 2, scale=2 * math.pi),
        text_encoder.FeatureResizer(embedding_dim, d, text_dropout),
        nn.Conv2d(8 * backbone_stem_channels * block.expansion, d, 1), nn.Embedding(num_queries, d),
        MLP(d, 4, [d, d], dropout=0.0), nn.Linear(d, num_classes + 1), nn.Embedding(extra, d) if extra else None)
    projections = [nn.Linear(d, contrastive_dim), nn.Linear(d, contrastive_dim)]
    if task == "vqa":
        return model.MDETRForVQA(whole, heads, *projections)
    return model.MDETRForPhraseGrounding(whole, *projections) if task else whole


classes(
    **NAMES, mdetr=mdetr, PositionEmbedding2D=image_encoder.PositionEmbedding2D,
    MaskedIntermediateLayer=image_encoder.MaskedIntermediateLayer, FeatureResizer=text_encoder.FeatureResizer,
    ModifiedTransformerEncoder=text_encoder.ModifiedTransformerEncoder, MDETRTransformer=transformer.MDETRTransformer,
    # Strings that mean themselves.
    **{name: name for name in ("resnet18", "resnet50", "layer4", "vqa", "phrase_grounding")})


def thaw(target, inputs, mode):
    """Frozen normalizations whose weight and bias matter."""
    for part in target.modules():
        if isinstance(part, NAMES["FrozenBatchNorm2d"]):
            part.weight.copy_(torch.rand_like(part.weight) + 0.5)
            part.bias.copy_(randn(part.bias.shape) * 0.2)


def images(*sizes):
    return lambda: dict(x=randn(sizes))


def resnets():
    case("FrozenBatchNorm2d", "FrozenBatchNorm2d", dict(n=5), lambda: dict(x=randn(2, 5, 3, 4)), prepare=thaw)
    small = dict(block="Bottleneck", layers=[1, 1, 1, 1], stem_channels=2, num_classes=5, width_per_group=32)
    for label, norm in (("batch", "nn.BatchNorm2d"), ("frozen", "FrozenBatchNorm2d")):
        for mode in ("eval", "train"):
            case(f"ResNet-bottleneck-{label}-{mode}", "ResNet", dict(small, norm_layer=norm), images(2, 3, 33, 40),
                 mode=mode, prepare=thaw)
    case("ResNet-basic-eval", "ResNet", dict(block="BasicBlock", layers=[1, 2, 1, 1], stem_channels=2, num_classes=5),
         images(2, 3, 40, 33))
    case("ResNet-basic-train", "ResNet", dict(block="BasicBlock", layers=[2, 1, 1, 1], stem_channels=2, num_classes=5),
         images(2, 3, 34, 36), mode="train")
    case("ResNet-dilated-features", "ResNet", dict(small, replace_stride_with_dilation=[False, True, True]),
         images(1, 3, 40, 24), method="features")


def paddings(*sizes, within):
    """A mask of padding, True outside each of the sizes."""
    mask = torch.ones((len(sizes), *within), dtype=torch.bool)
    for row, size in zip(mask, sizes):
        row[tuple(slice(0, n) for n in size)] = False
    return mask


def parts():
    scattered = lambda: dict(mask=torch.rand(2, 5, 4) > 0.7)
    case("PositionEmbedding2D-scaled", "PositionEmbedding2D", dict(num_pos_feats=6, scale=2 * math.pi),
         lambda: dict(mask=paddings((5, 7), (3, 4), within=(5, 7))), vjp=False)
    case("PositionEmbedding2D-counted", "PositionEmbedding2D", dict(num_pos_feats=4, temperature=100), scattered,
         vjp=False)
    small = {"class": "ResNet", "block": "BasicBlock", "layers": [1, 1, 1, 1], "stem_channels": 2,
             "norm_layer": "FrozenBatchNorm2d"}
    case("MaskedIntermediateLayer", "MaskedIntermediateLayer", dict(body=small, intermediate_layer="layer4"),
         lambda: dict(images=randn(2, 3, 35, 49), image_masks=paddings((35, 16), (21, 49), within=(35, 49))),
         prepare=thaw)
    case("FeatureResizer", "FeatureResizer", dict(input_feat_size=6, output_feat_size=4),
         lambda: dict(encoder_features=randn(5, 2, 6)))
    case("FeatureResizer-plain-train", "FeatureResizer",
         dict(input_feat_size=6, output_feat_size=4, dropout=0.0, do_ln=False),
         lambda: dict(encoder_features=randn(5, 2, 6)), mode="train")
    text = dict(embedding_dim=8, num_encoder_layers=2, num_attention_heads=2, ffn_dimension=12)
    words = lambda: dict(embeddings=randn(2, 6, 8), attention_mask=paddings((6,), (4,), within=(6,)))
    case("ModifiedTransformerEncoder", "ModifiedTransformerEncoder", text, words)
    case("ModifiedTransformerEncoder-pre-train", "ModifiedTransformerEncoder",
         dict(text, dropout=0.0, normalize_before=True), words, mode="train")
    d = 8
    base = dict(d_model=d, num_heads=2, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=12)
    whole = lambda: dict(
        image_embeddings=randn(2, d, 3, 4), image_mask=paddings((3, 4), (2, 3), within=(3, 4)),
        query_embed=randn(5, d), pos_embed=randn(2, d, 3, 4), text_memory=randn(6, 2, d),
        text_attention_mask=paddings((4,), (6,), within=(6,)))
    case("MDETRTransformer", "MDETRTransformer", base, whole)
    case("MDETRTransformer-train", "MDETRTransformer", dict(base, dropout=0.0), whole, mode="train")
    case("MDETRTransformer-pre", "MDETRTransformer", dict(base, normalize_before=True, activation="nn.GELU"), whole)


def models():
    small = dict(
        num_queries=4, num_classes=9, embedding_dim=8, transformer_d_model=8, transformer_num_heads=2,
        transformer_encoder_layers=1, transformer_decoder_layers=2, transformer_dim_feedforward=12,
        backbone="resnet18", backbone_layers=[1, 1, 1, 1], backbone_stem_channels=2, vocab_size=20,
        max_position_embeddings=12, text_num_layers=1, text_num_heads=2, text_dim_feedforward=12)
    still = dict(small, transformer_dropout=0.0, text_dropout=0.0)
    ids = lambda n: torch.cat([torch.tensor([0]), torch.randint(3, 20, (n - 2,)), torch.tensor([2])])
    pair = lambda: {"images.0": randn(3, 33, 48), "images.1": randn(3, 40, 20), "text.0": ids(5), "text.1": ids(8)}
    stack = lambda: {"images": randn(2, 3, 36, 32), "text": torch.stack([ids(6), ids(6)])}
    case("mdetr", "mdetr", small, pair, prepare=thaw)
    case("mdetr-train", "mdetr", still, pair, mode="train", prepare=thaw)
    case("mdetr-extra", "mdetr", dict(small, num_extra_query_embeddings=2, normalize_before=True), stack, prepare=thaw)
    case("mdetr-grounding", "mdetr", dict(small, task="phrase_grounding", contrastive_dim=6), pair, prepare=thaw)
    case("mdetr-bottleneck-train", "mdetr",
         dict(still, task="phrase_grounding", contrastive_dim=6, backbone="resnet50", backbone_stem_channels=1,
              backbone_norm="nn.BatchNorm2d"), pair, mode="train", prepare=thaw)
    heads = dict(answer_cat=5, answer_obj=4, answer_type=3)  # sorted, as case.json will have them
    case("mdetr-vqa", "mdetr", dict(small, task="vqa", vqa_heads=heads, contrastive_dim=6), stack, prepare=thaw)
    case("mdetr-vqa-train", "mdetr", dict(still, task="vqa", vqa_heads=heads, contrastive_dim=6), pair, mode="train",
         prepare=thaw)


def factories():
    """The peer's factories, without the backbone's weights from the network."""
    if not "keys".startswith(WANTED):
        return
    build = image_encoder.mdetr_resnet101_backbone
    model.mdetr_resnet101_backbone = lambda: build(weights=None)
    for name in ("mdetr_resnet101", "mdetr_for_phrase_grounding", "mdetr_for_vqa"):
        key_list(name, getattr(model, name)())


if __name__ == "__main__":
    factories()
    resnets()
    parts()
    models()
