"""ALBEF: layers, losses, the model with its momentum twins, queues and hard negatives, retrieval and VQA.

Run: MULTIMODAL_EXAMPLES=CHECKOUT python albef.py

The retrieval and VQA models are examples of facebookresearch/multimodal, which the package does not install: CHECKOUT is
a copy of that repository.
"""
import contextlib
import os
import sys

import torch
import yaml
from fixture import case, classes, key_list  # first: it makes torchvision loadable beside a CPU build of torch
from torch import nn
from torchmultimodal.models.albef import image_encoder, model, multimodal_encoder
from torchmultimodal.modules.encoders.bert_text_encoder import bert_text_encoder
from torchmultimodal.modules.layers.text_embedding import BERTTextEmbeddings
from torchmultimodal.modules.losses import albef as losses

sys.path.insert(0, os.environ["MULTIMODAL_EXAMPLES"])
from examples.albef import model as example  # noqa: E402

randn, randint = torch.randn, torch.randint


def albef_model(vision_encoder_args, text_encoder_args, multimodal_encoder_args, momentum=0.995):
    return model.ALBEFModel(
        image_encoder.ALBEFVisionEncoder(**vision_encoder_args), bert_text_encoder(**text_encoder_args),
        multimodal_encoder.ALBEFMultimodalEncoder(**multimodal_encoder_args), momentum)


class WithGivenNegatives(model.ALBEFModelWithSimilarity):
    """With the rows that the peer would draw, where they are given: it draws those of images first."""

    def forward(self, image, text, text_atts, idx, image_negatives=None, text_negatives=None):
        with given_negatives(image_negatives, text_negatives):
            return super().forward(image, text, text_atts, idx)


@contextlib.contextmanager
def given_negatives(images, texts):
    original = torch.multinomial
    if images is not None:
        rows = iter(torch.cat([images, texts]).tolist())
        torch.multinomial = lambda weights, count: torch.tensor([next(rows)])
    try:
        yield
    finally:
        torch.multinomial = original


def albef_model_with_similarity(projection_args, similarity_args, **parts):
    return WithGivenNegatives(
        albef_model(**parts), nn.Linear(**projection_args), nn.Linear(**projection_args), **similarity_args)


def albef_model_for_retrieval(**config):
    return example.albef_model_for_retrieval(config)


def albef_model_for_vqa(**config):
    return example.albef_model_for_vqa(config)


classes(
    TransformerCrossAttentionLayer=multimodal_encoder.TransformerCrossAttentionLayer,
    ALBEFMultimodalEncoder=multimodal_encoder.ALBEFMultimodalEncoder,
    ALBEFVisionEncoder=image_encoder.ALBEFVisionEncoder, albef_model=albef_model,
    albef_model_with_similarity=albef_model_with_similarity, albef_model_for_retrieval=albef_model_for_retrieval,
    albef_model_for_vqa=albef_model_for_vqa, PredictionHead=example.PredictionHead,
    ImageTextContrastiveLoss=losses.ImageTextContrastiveLoss,
    CausalLanguageModelingLoss=losses.CausalLanguageModelingLoss)

PARTS = dict(
    vision_encoder_args=dict(image_size=8, patch_size=4, num_hidden_layers=1, num_attention_heads=2, hidden_size=8,
                             mlp_dim=12),
    text_encoder_args=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=10,
                           vocab_size=24, max_position_embeddings=9, dropout=0.0),
    multimodal_encoder_args=dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=10))
SIMILARITY = dict(projection_args=dict(in_features=8, out_features=4), similarity_args=dict(embed_size=4, queue_size=6))
RETRIEVAL = dict(PARTS, **SIMILARITY, hidden_size=8)
VQA = dict(
    PARTS,
    text_embeddings_args=dict(hidden_size=8, vocab_size=24, pad_token_id=0, max_position_embeddings=9,
                              type_vocab_size=2, layer_norm_eps=1e-12),
    prediction_head_args=dict(hidden_size=8, vocab_size=24, layer_norm_eps=1e-12))


def texts(batch, length, lengths):
    mask = (torch.arange(length) < torch.tensor(lengths)[:, None]).long()
    return randint(1, 24, (batch, length)) * mask, mask


def pairs(batch=2, **more):
    text, mask = texts(batch, 5, [5, 3, 4, 2][:batch])
    return dict(image=randn(batch, 3, 8, 8), text=text, text_atts=mask, **more)


def still(target, inputs, mode):
    """The peer moves its twins at inference, too; the engine does not, so neither does the peer here."""
    if mode != "eval":
        return
    for part in target.modules():
        if hasattr(part, "momentum"):
            part.momentum = 1


def filled_queues(target, inputs, mode):
    """Queues in which some places are taken, one of them by a pair of the batch's first image."""
    still(target, inputs, mode)
    for part in target.modules():
        if hasattr(part, "idx_queue"):
            part.idx_queue[0, :3] = torch.tensor([5, 40, 9])
            part.queue_ptr[0] = 2


STILL = "at inference the peer's momentum is set to 1, so that its twins stay: the engine's do"


def layers():
    config = dict(d_model=8, n_head=2, dim_feedforward=6)
    both = lambda: dict(hidden_states=randn(2, 3, 8), encoder_hidden_states=randn(2, 5, 8))
    for label, first in [("post", False), ("pre", True)]:
        case(f"TransformerCrossAttentionLayer-{label}", "TransformerCrossAttentionLayer",
             dict(config, norm_first=first), both)
        case(f"TransformerCrossAttentionLayer-{label}-masks", "TransformerCrossAttentionLayer",
             dict(config, norm_first=first, activation="nn.GELU", layer_norm_eps=1e-3),
             lambda: dict(both(), attention_mask=torch.tensor([[1, 1, 0], [1, 1, 1]])[:, None, None],
                          cross_attention_mask=torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 1, 1]])[:, None, None]),
             mode="train")
    case("TransformerCrossAttentionLayer-grid", "TransformerCrossAttentionLayer", config,
         lambda: dict(hidden_states=randn(1, 2, 2, 3, 8), encoder_hidden_states=randn(1, 3, 2, 8)))
    config = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6)
    case("ALBEFMultimodalEncoder", "ALBEFMultimodalEncoder", config,
         lambda: dict(both(), attention_mask=torch.tensor([[1, 1, 1], [1, 0, 0]])))
    case("ALBEFMultimodalEncoder-masks", "ALBEFMultimodalEncoder", dict(config, transform_act_fn="nn.ReLU"),
         lambda: dict(both(), attention_mask=torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).expand(2, 3, 3).clone(),
                      encoder_attention_mask=torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])), mode="train")
    case("PredictionHead", "PredictionHead", dict(vocab_size=9, hidden_size=6),
         lambda: dict(hidden_states=randn(2, 3, 6)))


def vision():
    for mode in ("eval", "train"):
        case(f"ALBEFVisionEncoder-{mode}", "ALBEFVisionEncoder", dict(PARTS["vision_encoder_args"], num_hidden_layers=2),
             lambda: dict(x=randn(2, 3, 8, 8)), mode=mode)


def loss_functions():
    sims = lambda *names: {name: randn(3, 5) for name in names}
    hard, soft = ("image_to_text_sim", "text_to_image_sim"), ("image_to_text_sim_m", "text_to_image_sim_m")
    case("ImageTextContrastiveLoss", "ImageTextContrastiveLoss", {}, lambda: sims(*hard))
    case("ImageTextContrastiveLoss-distilled", "ImageTextContrastiveLoss", {}, lambda: sims(*hard, *soft),
         args=dict(alpha=0.4))
    case("ImageTextContrastiveLoss-targets", "ImageTextContrastiveLoss", {},
         lambda: sims(*hard, *soft, "sim_targets"), args=dict(alpha=0.4))
    labels = torch.tensor([[1, 5, 3, -100], [1, 0, 8, 2]])
    case("CausalLanguageModelingLoss", "CausalLanguageModelingLoss", {},
         lambda: dict(labels=labels, prediction_scores=randn(2, 4, 9)))
    case("CausalLanguageModelingLoss-distilled", "CausalLanguageModelingLoss", {},
         lambda: dict(labels=labels, prediction_scores=randn(2, 4, 9), prediction_scores_m=randn(2, 4, 9)),
         args=dict(alpha=0.4))


def whole():
    for mode in ("eval", "train"):
        note = STILL if mode == "eval" else None
        case(f"albef_model-{mode}", "albef_model", PARTS, pairs, mode=mode, note=note, prepare=still)
        case(f"albef_model_with_similarity-{mode}", "albef_model_with_similarity", dict(PARTS, **SIMILARITY),
             lambda: pairs(idx=torch.tensor([5, 7])), mode=mode, note=note, prepare=filled_queues)
        case(f"albef_model_for_retrieval-{mode}", "albef_model_for_retrieval", RETRIEVAL,
             lambda: pairs(idx=torch.tensor([5, 7])), args=dict(alpha=0.4), mode=mode, note=note,
             prepare=filled_queues)
        case(f"albef_model_for_vqa-{mode}", "albef_model_for_vqa", VQA, questions,
             args=dict(ans_lengths=[2, 1], alpha=0.4), mode=mode, note=note, prepare=still)
    case("albef_model-momentum", "albef_model", dict(PARTS, momentum=0.75), pairs, mode="train")
    case("albef_model_with_similarity-given", "albef_model_with_similarity", dict(PARTS, **SIMILARITY),
         lambda: pairs(3, idx=torch.tensor([5, 7, 5]), image_negatives=torch.tensor([1, 0, 1]),
                       text_negatives=torch.tensor([1, 2, 1])), mode="train", prepare=filled_queues)
    case("albef_model_for_retrieval-hard", "albef_model_for_retrieval", RETRIEVAL,
         lambda: pairs(idx=torch.tensor([1, 2])), mode="train")


def retrieval():
    states = lambda: dict(image=randn(3, 5, 8), text=randn(3, 4, 8),
                          text_atts=torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]]))
    for label, inputs in [("image", lambda: dict(image=randn(2, 3, 8, 8))),
                          ("text", lambda: {k: v for k, v in pairs().items() if k != "image"}),
                          ("multimodal", states)]:
        case(f"albef_model_for_retrieval-{label}", "albef_model_for_retrieval", RETRIEVAL, inputs,
             args=dict(input_type=label, is_train=False))


ANSWERS = torch.tensor([[1, 5, 9, 0], [1, 7, 0, 0], [1, 3, 4, 6], [1, 11, 2, 0], [1, 20, 0, 0]])


def questions():
    text, mask = texts(2, 5, [5, 3])
    answers = ANSWERS[[0, 2, 1]]
    return dict(image=randn(2, 3, 8, 8), question=text, question_atts=mask, answers=answers,
                answers_atts=(answers != 0).long(), ans_weights=torch.tensor([0.7, 0.3, 1.0]))


def vqa():
    def ranking():
        text, mask = texts(2, 5, [5, 3])
        return dict(image=randn(2, 3, 8, 8), question=text, question_atts=mask, answers=ANSWERS,
                    answers_atts=(ANSWERS != 0).long())

    for k in (3, 5):
        case(f"albef_model_for_vqa-rank{k}", "albef_model_for_vqa", VQA, ranking, args=dict(k=k, is_train=False),
             vjp=False, scale=0.3, note=STILL, prepare=still)


def keys():
    """Of the examples' own configurations, which are the engine's defaults."""
    with torch.device("meta"):  # shapes only
        for name in ("retrieval", "vqa"):
            with open(os.path.join(os.path.dirname(example.__file__), "configs", f"{name}.yaml")) as file:
                config = yaml.safe_load(file)
            # YAML reads 1e-6 as text.
            config = {part: {key: float(value) if key.endswith("eps") else value for key, value in values.items()}
                      for part, values in config.items() if isinstance(values, dict)}
            make = getattr(example, f"albef_model_for_{name}")
            key_list(f"albef_model_for_{name}", make(dict(config, hidden_size=768)))


PARTS_OF_SCRIPT = dict(layers=layers, vision=vision, loss_functions=loss_functions, whole=whole, retrieval=retrieval,
                       vqa=vqa, keys=keys)

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS_OF_SCRIPT:
        PARTS_OF_SCRIPT[part]()
