"""Encoders of channels, fusions, late fusions, two towers, the CNN-LSTM example.

Run: MULTIMODAL_EXAMPLES=CHECKOUT python fusions.py

The CNN-LSTM classifier is an example of facebookresearch/multimodal, which the package does not install: CHECKOUT is a
copy of that repository.
"""
import os
import sys

import torch
from fixture import build, case, classes, key_list, perturb
from torch import nn
from torchmultimodal.models import late_fusion, two_tower
from torchmultimodal.modules.encoders import embedding_encoder, mil_encoder, weighted_embedding_encoder
from torchmultimodal.modules.fusions import attention_fusion, concat_fusion, deepset_fusion
from torchmultimodal.modules.layers import mlp

sys.path.insert(0, os.environ["MULTIMODAL_EXAMPLES"])
from examples.cnn_lstm import cnn_encoder, cnn_lstm, lstm_encoder  # noqa: E402

randn, randint = torch.randn, torch.randint


def sizes(function):
    """A factory that is given lists, which `build` makes tuples of."""
    return lambda **kwargs: function(**{k: list(v) if isinstance(v, tuple) else v for k, v in kwargs.items()})


classes(**{
    "MLP": mlp.MLP, "EmbeddingEncoder": embedding_encoder.EmbeddingEncoder,
    "WeightedEmbeddingEncoder": weighted_embedding_encoder.WeightedEmbeddingEncoder,
    "MILEncoder": sizes(mil_encoder.MILEncoder), "ConcatFusionModule": concat_fusion.ConcatFusionModule,
    "AttentionFusionModule": attention_fusion.AttentionFusionModule,
    "DeepsetFusionModule": deepset_fusion.DeepsetFusionModule,
    "DeepsetFusionWithTransformer": deepset_fusion.DeepsetFusionWithTransformer,
    "deepset_transformer": deepset_fusion.deepset_transformer, "LateFusion": late_fusion.LateFusion,
    "CNNEncoder": sizes(cnn_encoder.CNNEncoder), "LSTMEncoder": lstm_encoder.LSTMEncoder,
    "cnn_lstm_classifier": sizes(cnn_lstm.cnn_lstm_classifier),
    "sum": "sum", "mean": "mean", "max": "max",
    **{f"torch.{name}": getattr(torch, name) for name in ("sum", "mean", "median", "max", "min")}})
TABLE = {"class": "nn.Embedding", "num_embeddings": 9, "embedding_dim": 4, "padding_idx": 0}


def linear(inputs, outputs):
    return {"class": "nn.Linear", "in_features": inputs, "out_features": outputs}


def net(inputs, outputs=3, **more):
    return {"class": "MLP", "in_dim": inputs, "out_dim": outputs, "hidden_dims": 5, "dropout": 0.0, "activation": "nn.GELU", **more}


def pooling_transformer(width, heads, dropout=0.0):
    layer = {"class": "nn.TransformerEncoderLayer", "d_model": width, "nhead": heads, "dim_feedforward": 6,
             "dropout": dropout, "batch_first": True}
    return {"class": "nn.TransformerEncoder", "encoder_layer": layer, "num_layers": 1,
            "norm": {"class": "nn.LayerNorm", "normalized_shape": width}}


def channel_encoders():
    name = "EmbeddingEncoder"
    for pooling in ("sum", "mean", "max"):
        case(f"{name}-{pooling}", name, dict(embedding=TABLE, pooling_type=pooling), lambda: dict(x=randint(0, 9, (3, 5))))
    case(f"{name}-hash", name, dict(embedding=TABLE, pooling_type="sum", use_hash=True, pooling_dim=-1),
         lambda: dict(x=randint(-30, 1000, (3, 5))))
    name = "WeightedEmbeddingEncoder"
    for pooling, axis in (("torch.sum", 1), ("torch.mean", 1), ("torch.max", 1), ("torch.median", 2)):
        case(f"{name}-{pooling[6:]}", name, dict(embedding=TABLE, pooling_function=pooling, pooling_dim=axis),
             lambda: dict(weights=randn(3, 6)))
    name = "MILEncoder"
    config = dict(partition_sizes=[3, 3], shared_encoder=linear(3, 4), shared_encoder_dim=4, mlp=net(4))
    case(f"{name}-sum", name, dict(config, pooling_function="torch.sum"), lambda: dict(x=randn(2, 6)))
    case(f"{name}-attention", name, dict(config, pooling_function="torch.max", apply_attention=True, attention_dim=3,
                                         modality_normalize=True, use_auto_mapping=True),
         lambda: dict(x=randn(2, 6)), mode="train")
    case(f"{name}-transformer", name, dict(config, pooling_function=pooling_transformer(4, 2)),
         lambda: dict(x=randn(2, 6)))
    case(f"{name}-ids", name,
         dict(config, partition_sizes=[2, 1, 3], pooling_function="torch.median",
              shared_encoder=dict({"class": "EmbeddingEncoder"}, embedding=TABLE, pooling_type="mean")),
         lambda: dict(x=randint(0, 9, (2, 6))))


def fusions():
    both = lambda a=4, b=6: {"embeddings.text": randn(3, a), "embeddings.image": randn(3, b)}
    name = "ConcatFusionModule"
    case(name, name, {}, lambda: both())
    case(f"{name}-projection", name, dict(projection=linear(10, 3)), lambda: both())
    name = "AttentionFusionModule"
    widths = dict(text=4, image=6)
    case(name, name, dict(channel_to_encoder_dim=widths), lambda: both())
    case(f"{name}-width", name, dict(channel_to_encoder_dim=widths, encoding_projection_dim=3), lambda: both())
    name = "DeepsetFusionModule"
    three = lambda: {f"embeddings.{key}": randn(2, 4) for key in ("b", "a", "c")}
    same = dict(channel_to_encoder_dim=dict(b=4, a=4, c=4), mlp=net(4))
    for pooling in ("sum", "mean", "median", "min", "max"):
        case(f"{name}-{pooling}", name, dict(same, pooling_function=f"torch.{pooling}"), three)
    case(f"{name}-even-median", name, dict(same, channel_to_encoder_dim=dict(text=4, image=4),
                                           pooling_function="torch.median", norm_factor=1.0), lambda: both(4, 4))
    everything = dict(channel_to_encoder_dim=widths, mlp=net(4), apply_attention=True, modality_normalize=True,
                      norm_factor=3.0, use_auto_mapping=True)
    case(f"{name}-everything", name, dict(everything, pooling_function="torch.sum"), lambda: both(), mode="train")
    case("DeepsetFusionWithTransformer", "DeepsetFusionWithTransformer",
         dict(same, pooling_function=pooling_transformer(4, 2), apply_attention=True), three, mode="train")
    case("deepset_transformer", "deepset_transformer",
         dict(channel_to_encoder_dim=widths, mlp=net(4), use_auto_mapping=True, num_transformer_att_heads=2),
         lambda: both())


def models():
    tower = lambda first, second: {
        "class": "LateFusion", "encoders": {second: linear(3, 4), first: {"class": "nn.Identity"}},
        "fusion_module": {"class": "ConcatFusionModule"}, "head_module": net(6, 2)}
    data = lambda: {"modalities.b": randn(3, 3), "modalities.a": randn(3, 2), "modalities.other": randn(1)}
    plain = {key: value for key, value in tower("a", "b").items() if key != "class"}
    case("LateFusion", "LateFusion", plain, data)
    case("LateFusion-deepset", "LateFusion",
         dict(encoders=dict(b=linear(3, 4), a=linear(2, 4)), head_module=linear(3, 2),
              fusion_module={"class": "DeepsetFusionModule", "channel_to_encoder_dim": dict(a=4, b=4), "mlp": net(4),
                             "pooling_function": "torch.mean"}), data, mode="train")
    channels = lambda: {f"channel_to_input.{key}": randn(3, size) for key, size in
                        (("a", 2), ("b", 3), ("c", 2), ("d", 3))}
    name = "TwoTower"
    for label, config in (
            ("apart", dict(tower_id_to_tower={"x": tower("a", "b"), "y": tower("c", "d")})),
            ("shared", dict(tower_id_to_tower={"x": tower("a", "b"), "y": "x"},
                            shared_tower_id_to_channel_mapping={"y": {"a": "c", "b": "d"}}))):
        config["tower_fusion"] = linear(4, 2)
        towers = {}
        for key, value in config["tower_id_to_tower"].items():
            towers[key] = towers[value] if isinstance(value, str) else build(value)

        class Joined(nn.Linear):
            """The peer's fusion of towers is given a list."""

            def forward(self, parts):
                return super().forward(torch.cat(parts, dim=-1))

        target = two_tower.TwoTower(towers, Joined(4, 2), config.get("shared_tower_id_to_channel_mapping"))
        case(f"{name}-{label}", name, config, channels, target=perturb(target))


def example():
    config = dict(input_dims=[2, 3], output_dims=[3, 4], kernel_sizes=[3, 2])
    for mode in ("eval", "train"):
        case(f"CNNEncoder-{mode}", "CNNEncoder", config, lambda: dict(x=randn(2, 2, 8, 6)), mode=mode)
    config = dict(vocab_size=9, embedding_dim=3, input_size=3, hidden_size=4, bidirectional=True)
    for first in (True, False):
        case(f"LSTMEncoder-{'batch' if first else 'sequence'}-first", "LSTMEncoder", dict(config, batch_first=first),
             lambda: dict(x=randint(0, 9, (3, 5))), mode="train" if first else "eval", scale=0.2)
    config = dict(text_vocab_size=9, text_embedding_dim=3, lstm_input_size=3, lstm_hidden_dim=4,
                  cnn_input_dims=[3, 4], cnn_output_dims=[4, 2], cnn_kernel_sizes=[5, 1], classifier_in_dim=8 + 2 * 4,
                  num_classes=3)
    for mode in ("eval", "train"):
        case(f"cnn_lstm_classifier-{mode}", "cnn_lstm_classifier", config,
             lambda: {"modalities.image": randn(2, 3, 8, 8), "modalities.text": randint(0, 9, (2, 5))}, mode=mode)
    key_list("cnn_lstm_classifier", cnn_lstm.cnn_lstm_classifier(80), dict(text_vocab_size=80))


if __name__ == "__main__":
    channel_encoders()
    fusions()
    models()
    example()
