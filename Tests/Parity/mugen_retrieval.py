"""VideoCLIP of MUGEN's retrieval example. Run: python mugen_retrieval.py FOLDER_OF_THE_PEERS_REPOSITORY

The example is not installed with the peer: the folder is a checkout of it. It needs transformers 4.57.1 beside it.
"""
import sys

import torch
from fixture import case, classes, key_list
from torch import nn
from torchmultimodal.modules.losses.contrastive_loss_with_temperature import ContrastiveLossWithTemperature
from torchvision.models.video import S3D
from torchvision.models.video.s3d import SepInceptionBlock3D, TemporalSeparableConv
from torchvision.ops.misc import Conv3dNormActivation

# A script of this folder has the name of a package that the example needs.
here = sys.path.pop(0)
from transformers import DistilBertModel  # noqa: E402, F401

sys.path[:0] = [here, sys.argv[1]]
from examples.mugen.retrieval import video_clip  # noqa: E402

randn, randint = torch.randn, torch.randint

TEXT = dict(vocab_size=40, max_position_embeddings=12, n_layers=2, n_heads=2, dim=8, hidden_dim=20, dropout=0.0,
            attention_dropout=0.0)
VIDEO = dict(stem=[4, 6], blocks=[[[2, 3, 4, 2, 3, 2]], [[3, 2, 2, 3, 4, 2], [2, 2, 3, 2, 2, 3]], [[4, 3, 3, 2, 2, 3]]],
             head=[1, 2, 1])


def small_s3d(stem, blocks, head):
    """torchvision's network with other numbers of channels."""
    net = S3D()
    norm = lambda width: nn.BatchNorm3d(width, eps=0.001, momentum=0.001)
    layers = [
        TemporalSeparableConv(3, stem[0], 7, 2, 3, norm), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        Conv3dNormActivation(stem[0], stem[0], kernel_size=1, stride=1, norm_layer=norm),
        TemporalSeparableConv(stem[0], stem[1], 3, 1, 1, norm), nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))]
    pools = {1: nn.MaxPool3d(3, 2, 1), 2: nn.MaxPool3d(2, 2, 0)}
    width = stem[1]
    for number, group in enumerate(blocks):
        layers += [pools[number]] if number else []
        for block in group:
            layers.append(SepInceptionBlock3D(width, *block, norm))
            width = block[0] + block[2] + block[4] + block[5]
    net.features = nn.Sequential(*layers)
    net.avgpool = nn.AvgPool3d(tuple(head), stride=1)
    net.classifier = nn.Sequential(nn.Identity(), nn.Conv3d(width, 1, 1))
    return net


def video_encoder(**sizes):
    if not sizes:
        return video_clip.VideoEncoder()
    encoder = video_clip.VideoEncoder()
    encoder.model = small_s3d(**sizes)
    encoder.out_dim = encoder.model.classifier[1].in_channels
    encoder.model.classifier = nn.Identity()
    return encoder


def small_videoclip(video_model_config, **options):
    model = video_clip.videoclip(text_pretrained=False, video_pretrained=False, **options)
    encoder = video_encoder(**video_model_config)
    model.encoder_b = nn.Sequential(
        encoder, video_clip.Projection(encoder.out_dim, options["proj_out_dim"], options["proj_dropout"]))
    return model


class Objective(nn.Module):
    """What the example's Lightning module computes of a batch."""

    def __init__(self, logit_scale=0.07, logit_scale_max=100.0, **options):
        super().__init__()
        self.model = small_videoclip(**options) if "video_model_config" in options else video_clip.videoclip(**options)
        self.contrastive_loss = ContrastiveLossWithTemperature(logit_scale, None, logit_scale_max)

    def training_step(self, text, video):
        output = self.model(text, video)
        return dict(loss=self.contrastive_loss(output.embeddings_a, output.embeddings_b), model_output=output)


def ids(*shape):
    """Texts that end in padding, of several lengths."""
    tokens = randint(1, 40, shape)
    for row in range(1, shape[0]):
        tokens[row, shape[1] - row:] = 0
    return tokens


classes(**{"TextEncoder": video_clip.TextEncoder, "video_clip.VideoEncoder": video_encoder,
           "Projection": video_clip.Projection, "videoclip": small_videoclip, "VideoCLIPLightningModule": Objective, "relu": "relu"})


def parts():
    for mode in ("eval", "train"):
        case(f"TextEncoder-{mode}", "TextEncoder", dict(model_config=TEXT), lambda: dict(input_ids=ids(3, 7)), mode=mode)
        case(f"Projection-{mode}", "Projection", dict(in_dim=7, out_dim=3, dropout_prob=0.0 if mode == "train" else 0.1),
             lambda: dict(x=randn(2, 7)), mode=mode)
    case("VideoEncoder-S3D-eval", "video_clip.VideoEncoder", VIDEO, lambda: dict(x=randn(1, 3, 7, 49, 18)))
    case("VideoEncoder-S3D-train", "video_clip.VideoEncoder", dict(VIDEO, head=[1, 1, 1]),
         lambda: dict(x=randn(8, 3, 5, 17, 17)), mode="train")
    case("TextEncoder-relu", "TextEncoder", dict(model_config=dict(TEXT, activation="relu", n_layers=1), padding_value=3),
         lambda: dict(input_ids=torch.tensor([[5, 3, 7, 0], [3, 9, 3, 3]])), note="other padding than the table's")
    case("TextEncoder-mask", "TextEncoder", dict(model_config=TEXT), lambda: dict(input_ids=ids(2, 5)),
         method="build_attention_mask", vjp=False)


def models():
    config = dict(text_model_config=TEXT, video_model_config=dict(VIDEO, head=[1, 1, 1]), proj_out_dim=6, proj_dropout=0.0)
    inputs = lambda: (ids(8, 6), randn(8, 3, 5, 17, 17))
    case("videoclip", "videoclip", config, lambda: dict(zip(("features_a", "features_b"), inputs())))
    case("VideoCLIPLightningModule", "VideoCLIPLightningModule", dict(config, logit_scale=0.3, logit_scale_max=4.0),
         lambda: dict(zip(("text", "video"), inputs())), method="training_step", mode="train")


if __name__ == "__main__":
    parts()
    models()
    key_list("videoclip", video_clip.videoclip(text_pretrained=False, video_pretrained=False))
