"""torchvision's residual networks; MDETR with its parts, losses and matcher. Run: python mdetr.py [PREFIX ...]

The losses, the matcher, the postprocessor and the evaluation of phrases are the peer's examples: its repository must be
on the path (PYTHONPATH), and SciPy, PyCocoTools and PrettyTable be installed.
"""
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
        for mode in ("eval", "train") if label == "batch" else ("eval",):
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


    masks = lambda: paddings((11,), (7,), within=(11,))
    case("MDETRTransformer-encoder", "MDETRTransformer", dict(base, num_decoder_layers=1), lambda: dict(
        src=randn(11, 2, d), src_key_padding_mask=masks(), pos=randn(11, 2, d)), method="encoder")
    case("MDETRTransformer-decoder", "MDETRTransformer", dict(base, num_encoder_layers=1), lambda: dict(
        tgt=randn(4, 2, d), memory=randn(11, 2, d), memory_key_padding_mask=masks(), pos=randn(11, 2, d),
        query_pos=randn(4, 2, d)), method="decoder")


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


class Encoding:
    """What the contrastive loss asks of a tokenizer's result: the token at a character."""

    def __init__(self, tokens):
        self.tokens = tokens

    def char_to_token(self, character, sequence=0):
        return next((i for i, (begin, end) in enumerate(self.tokens) if begin <= character < end), None)


def losses():
    from examples.mdetr import loss, matcher
    from examples.mdetr.data.postprocessors import PostProcessFlickr
    from torchmultimodal.modules.losses import mdetr as peer
    from torchvision.ops.boxes import box_convert, box_iou, generalized_box_iou

    classes(HungarianMatcher=matcher.HungarianMatcher)

    def boxes(*shape):
        low = torch.rand(*shape, 2) * 0.7
        return box_convert(torch.cat([low, low + 0.05 + torch.rand(*shape, 2) * 0.25], -1), "xyxy", "cxcywh")

    corners = lambda n: box_convert(boxes(n), "cxcywh", "xyxy")
    for function in (box_iou, generalized_box_iou):
        case(function.__name__, function.__name__, inputs=lambda: dict(boxes1=corners(5), boxes2=corners(4)),
             target=function)
    pairs = {"indices.0.0": torch.tensor([1, 4, 5]), "indices.0.1": torch.tensor([2, 0, 1]),
             "indices.1.0": torch.tensor([0, 3]), "indices.1.1": torch.tensor([1, 0])}
    soft = lambda pred_logits, positive_map, indices, **kwargs: peer.soft_token_prediction_loss(
        pred_logits, positive_map=positive_map.to(pred_logits.dtype), indices=indices, **kwargs)
    case("soft_token_prediction_loss", "soft_token_prediction_loss", target=soft, inputs=lambda: dict(
        pairs, pred_logits=randn(2, 6, 8), positive_map=torch.rand(5, 8) > 0.6),
        args=dict(n_target_boxes=[3, 2], num_boxes=5))
    case("soft_token_prediction_loss-weight", "soft_token_prediction_loss", target=soft, inputs=lambda: dict(
        pairs, pred_logits=randn(2, 6, 8), positive_map=torch.rand(5, 8).softmax(-1)),
        args=dict(n_target_boxes=[3, 2], num_boxes=7, no_object_weight=0.3), vjp=False)
    case("box_losses", "box_losses", target=peer.box_losses, inputs=lambda: {
        **pairs, "pred_boxes": boxes(2, 6), "target_boxes.0": boxes(3), "target_boxes.1": boxes(2)},
        args=dict(num_boxes=5))
    unit = lambda *shape: nn.functional.normalize(randn(*shape), dim=-1)
    spans = [[[0, 0], [0, 3], [4, 9], [9, 12], [13, 16], [0, 0]], [[0, 0], [0, 2], [3, 8], [0, 0], [0, 0], [0, 0]]]
    phrases = [[[[0, 3]], [[4, 12]], [[4, 9], [13, 16]]], [[[3, 8]], [[0, 2]]]]
    aligned = lambda projected_queries, projected_tokens, indices, tokenized, **kwargs: loss.contrastive_alignment_loss(
        projected_queries, projected_tokens, indices=indices, tokenized=[Encoding(text) for text in tokenized],
        **kwargs)
    for label, more in (("", {}), ("-temperature", dict(temperature=0.5))):
        case(f"contrastive_alignment_loss{label}", "contrastive_alignment_loss", target=aligned, inputs=lambda: dict(
            pairs, projected_queries=unit(2, 6, 4), projected_tokens=unit(2, 6, 4)),
            args=dict(target_tokens=phrases, num_boxes=5, tokenized=spans, **more))
    for label, queries, counts in (("more-queries", 12, (3, 8)), ("more-boxes", 5, (3, 8)), ("one", 1, (1, 2))):
        case(f"HungarianMatcher-{label}", "HungarianMatcher", inputs=lambda: {
            "pred_logits": randn(2, queries, 7), "pred_boxes": boxes(2, queries),
            "target_boxes_per_sample.0": boxes(counts[0]), "target_boxes_per_sample.1": boxes(counts[1]),
            "positive_map": (torch.rand(sum(counts), 7) > 0.6).float()}, vjp=False)
    case("HungarianMatcher-weights", "HungarianMatcher", dict(cost_class=2.0, cost_bbox=0.0, cost_giou=0.5),
         inputs=lambda: {
             "pred_logits": randn(1, 6, 7), "pred_boxes": boxes(1, 6), "target_boxes_per_sample.0": boxes(4),
             "positive_map": torch.rand(4, 7)}, vjp=False)
    found = lambda **kwargs: [[torch.tensor(phrase) for phrase in image] for image in PostProcessFlickr()(**kwargs)]
    case("PostProcessFlickr", "PostProcessFlickr", target=found, inputs=lambda: dict(
        output_logits=randn(2, 5, 8), output_bbox=boxes(2, 5), target_sizes=torch.tensor([[100.0, 80.0], [50.0, 60.0]]),
        positive_map=torch.rand(5, 8) > 0.5), args=dict(phrases_per_sample=[3, 2]), vjp=False)
    heads = ["answer_type", "answer_obj", "answer_cat"]
    named = lambda function: lambda pred_dict, label_dict, mask_dict: function(
        *(dict(zip(heads, values)) for values in (pred_dict, label_dict, mask_dict)))
    labels = [torch.tensor([0, 1, 1, 0]), torch.tensor([2, -100, -100, 1]), torch.tensor([-100, 0, 3, -100])]
    answers = lambda: {
        **{f"pred_dict.{i}": randn(4, n) for i, n in enumerate((2, 3, 4))},
        **{f"label_dict.{i}": label for i, label in enumerate(labels)},
        **{f"mask_dict.{i}": label >= 0 for i, label in enumerate(labels)}}
    for function in (loss.masked_dict_cross_entropy, loss.masked_dict_accuracy):
        is_loss = function is loss.masked_dict_cross_entropy
        case(function.__name__, function.__name__, dict(heads=heads), answers, target=named(function), vjp=is_loss)


def metrics():
    """Fixtures/detection.json: assignments by SciPy, recall of phrases by the peer's example, precision by PyCocoTools."""
    if not "detection".startswith(WANTED):
        return
    import contextlib
    import io
    import json
    import os
    import tempfile
    import types

    import numpy as np
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(5)
    assignments = []
    for _ in range(60):  # Few different costs: most of these have ties.
        costs = rng.integers(0, rng.integers(1, 6), rng.integers(1, 8, 2))
        assignments.append(dict(costs=costs.tolist(), rows=linear_sum_assignment(costs)[0].tolist(),
                                columns=linear_sum_assignment(costs)[1].tolist()))

    import examples.mdetr as root
    sys.path.insert(0, list(root.__path__)[0])
    sys.modules["utils.dist"] = types.ModuleType("utils.dist")
    from data.flickr_eval import Flickr30kEntitiesRecallEvaluator

    def box():
        low = rng.integers(0, 60, 2)
        return [*map(int, low), *map(int, low + rng.integers(10, 40, 2))]

    kinds = ["people", "animals", "other"]
    phrases, predictions = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("Annotations", "Sentences"):
            os.mkdir(os.path.join(folder, name))
        names = [str(100 + i) for i in range(6)]
        open(os.path.join(folder, "test.txt"), "w").write("\n".join(names))
        for name in names:
            targets = {str(i): [box() for _ in range(rng.integers(1, 4))] for i in range(3)}
            objects = "".join(
                f"<object><name>{key}</name><bndbox><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax>"
                f"<ymax>{b[3]}</ymax></bndbox></object>" for key, boxes in targets.items() for b in boxes)
            size = "<size><width>100</width><height>100</height><depth>3</depth></size>"
            with open(os.path.join(folder, "Annotations", name + ".xml"), "w") as file:
                file.write(f"<annotation>{size}{objects}</annotation>")
            chosen = [[kinds[i] for i in sorted(set(rng.integers(0, 3, 2)))] for _ in targets]
            with open(os.path.join(folder, "Sentences", name + ".txt"), "w") as file:
                file.write(" and ".join(f"[/EN#{key}/{'/'.join(own)} thing {key}]" for key, own in
                                        zip(targets, chosen)) + "\n")
            found = []
            for (key, boxes), own in zip(targets.items(), chosen):
                ranked = [[int(v) for v in np.array(boxes[rng.integers(len(boxes))]) + rng.integers(-6, 7, 4)]
                          if rng.random() < 0.25 else box() for _ in range(12)]
                found.append(ranked)
                phrases.append(dict(predicted=ranked, targets=boxes, kinds=own))
            predictions.append(dict(image_id=name, sentence_id=0, boxes=found))
        grounding = {}
        for rule in ("any", "merged"):
            judge = Flickr30kEntitiesRecallEvaluator(folder, merge_boxes=rule == "merged")
            report = judge.evaluate(predictions)
            grounding[rule] = {kind: [report[k][kind] for k in (1, 5, 10, -1)] for kind in report[1]}

    annotations, results = [], []
    for image in range(1, 7):
        for _ in range(rng.integers(1, 6)):
            scale = float(rng.choice([0.5, 2.0, 6.0]))
            b = [v * scale for v in box()]
            wh = [b[2] - b[0], b[3] - b[1]]
            category = int(rng.integers(1, 4))
            annotations.append(dict(id=len(annotations) + 1, image_id=image, category_id=category, bbox=b[:2] + wh,
                                    area=wh[0] * wh[1] * 0.8, iscrowd=int(rng.random() < 0.15)))
            for _ in range(rng.integers(0, 4)):
                shifted = (np.array(b[:2] + wh) + rng.normal(0, 1.5, 4) * scale).round(2).tolist()
                results.append(dict(image_id=image, category_id=category if rng.random() < 0.8 else 1, bbox=shifted,
                                    score=round(float(rng.random()), 2)))
    truth = COCO()
    truth.dataset = dict(images=[dict(id=i) for i in range(1, 7)], annotations=annotations,
                         categories=[dict(id=i) for i in range(1, 5)])
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    names = ["AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge", "AR1", "AR10", "AR100", "ARsmall", "ARmedium",
             "ARlarge"]
    detection = dict(annotations=annotations, results=results, summary=dict(zip(names, judge.stats.tolist())))
    with open(os.path.join(fixture.ROOT, "detection.json"), "w") as file:
        json.dump(dict(assignments=assignments, phrases=phrases, grounding=grounding, detection=detection), file)
    print(detection["summary"], grounding["any"]["all"], grounding["merged"]["all"])


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
    metrics()
    resnets()
    parts()
    models()
    losses()
