"""FLAVA: image codebook, encoders, losses, and the models built from them. Run: python flava.py [PART ...]"""
import sys

import torch
from fixture import build, case, classes, key_list
from torchmultimodal.models.flava import image_encoder, model, text_encoder, transformer
from torchmultimodal.modules.losses import flava as losses

randn, tensor = torch.randn, torch.tensor


def small_codebook(image_size=112, encoder=None):
    """The peer's codebook around an encoder of another size, which its own arguments cannot ask for."""
    codebook = model.DalleVAEEncoder.__new__(model.DalleVAEEncoder)
    torch.nn.Module.__init__(codebook)
    codebook.image_size = image_size
    codebook.encoder = model.DalleEncoder(**(encoder or {}))
    return codebook


def pretraining_without_download(**kwargs):
    """`flava_model_for_pretraining`, whose codebook would fetch its weights."""
    original = model.DalleVAEEncoder
    model.DalleVAEEncoder = lambda image_size: original(image_size=image_size, pretrained=False)
    try:
        return model.flava_model_for_pretraining(**kwargs)
    finally:
        model.DalleVAEEncoder = original


classes(DalleConv2d=model.DalleConv2d, DalleEncoderBlock=model.DalleEncoderBlock, DalleEncoder=model.DalleEncoder,
        DalleVAEEncoder=small_codebook, Pooler=losses.Pooler, TwoWayHead=losses.TwoWayHead, ITMLoss=losses.ITMLoss,
        MaskedPredictionHead=losses.MaskedPredictionHead, MaskedPredictionLoss=losses.MaskedPredictionLoss,
        FLAVAGlobalContrastiveLoss=losses.FLAVAGlobalContrastiveLoss, FLAVAPretrainingLoss=losses.FLAVAPretrainingLoss,
        ImageEmbeddings=image_encoder.ImageEmbeddings, flava_image_encoder=image_encoder.flava_image_encoder,
        flava_text_encoder=text_encoder.flava_text_encoder, flava_multimodal_encoder=model.flava_multimodal_encoder,
        flava_model=model.flava_model, flava_model_for_pretraining=pretraining_without_download,
        FLAVAForPreTraining=model.FLAVAForPreTraining,
        flava_model_for_classification=model.flava_model_for_classification)


def codebook():
    case("DalleConv2d", "DalleConv2d", dict(n_in=3, n_out=5, kw=3), lambda: dict(x=randn(2, 3, 5, 4)))
    case("DalleConv2d-7", "DalleConv2d", dict(n_in=2, n_out=3, kw=7), lambda: dict(x=randn(1, 2, 4, 6)))
    case("DalleEncoderBlock", "DalleEncoderBlock", dict(n_in=8, n_out=8, n_layers=1),
         lambda: dict(x=randn(2, 8, 4, 5)))
    case("DalleEncoderBlock-wider", "DalleEncoderBlock", dict(n_in=5, n_out=9, n_layers=3),
         lambda: dict(x=randn(2, 5, 4, 4)))
    small = dict(n_hid=4, n_blk_per_group=1, vocab_size=6)
    case("DalleEncoder", "DalleEncoder", small, lambda: dict(x=randn(2, 3, 16, 16)), scale=0.3)
    case("DalleEncoder-odd", "DalleEncoder", dict(small, input_channels=2, group_count=1),
         lambda: dict(x=randn(1, 2, 17, 30)), scale=0.3)
    whole = dict(encoder=small)
    pixels = lambda name: lambda: {name: torch.rand(2, 3, 24, 16)}
    case("DalleVAEEncoder", "DalleVAEEncoder", whole, pixels("img_seq_prob"), vjp=False, scale=0.3)
    case("DalleVAEEncoder-probs", "DalleVAEEncoder", whole, pixels("images"), method="get_codebook_probs", scale=0.3)


def heads():
    case("Pooler", "Pooler", dict(hidden_size=6), lambda: dict(hidden_states=randn(3, 4, 6)))
    case("TwoWayHead", "TwoWayHead", dict(hidden_size=6), lambda: dict(pooled_output=randn(3, 6)))
    states = lambda **more: lambda: dict(hidden_states=randn(4, 5, 6), **more)
    itm = dict(hidden_size=6)
    case("ITMLoss-train", "ITMLoss", itm, states(labels=tensor([1, 0, 1, 1])), mode="train")
    case("ITMLoss-ignored", "ITMLoss", dict(itm, ignore_index=-7), states(labels=tensor([1, -7, 0, -7])))
    case("ITMLoss-unlabelled", "ITMLoss", itm, states(), args=dict(labels=None))
    head = dict(hidden_size=6, vocab_size=9)
    case("MaskedPredictionHead", "MaskedPredictionHead", head, lambda: dict(hidden_states=randn(2, 3, 6)))
    case("MaskedPredictionHead-eps", "MaskedPredictionHead",
         dict(head, layer_norm_eps=0.1, use_fp32_layer_norm=False), lambda: dict(hidden_states=randn(4, 6)))
    chosen = tensor([[-1, 3, -1, 8, 0], [-1] * 5, [2, -1, -1, -1, 2], [-1, -1, 5, -1, -1]])
    case("MaskedPredictionLoss-train", "MaskedPredictionLoss", head, states(masked_labels=chosen), mode="train")
    case("MaskedPredictionLoss-ignore", "MaskedPredictionLoss", dict(head, ignore_index=2),
         states(masked_labels=chosen.clamp(min=2)))
    case("MaskedPredictionLoss-unlabelled", "MaskedPredictionLoss", head, states())
    both = lambda **more: lambda: dict(image_sequence=randn(4, 6), text_sequence=randn(4, 6), **more)
    name = "FLAVAGlobalContrastiveLoss"
    case(name, name, {}, both(), args=dict(mask=None))
    case(f"{name}-mask", name, dict(logit_scale=1.5), both(mask=tensor([True, False, True, True])))
    case(f"{name}-clamped", name, dict(logit_scale=5.0), both(), args=dict(mask=None), scale=0,
         note="the peer clamps the parameter in place before use; its gradient is taken at the clamped value")


LOSS = dict(hidden_size=6, text_vocab_size=9, image_vocab_size=7)
MIM = tensor([[-1, 3, -1, 6], [0, -1, -1, -1], [2, -1, -1, 2]])
MLM = tensor([[-1, 3, -1], [-1, -1, 8], [-1, 4, 4]])


def pretraining_loss():
    name = "FLAVAPretrainingLoss"
    image = lambda: dict(image_sequence=randn(3, 5, 6), image_masked_sequence=randn(3, 5, 6))
    text = lambda: dict(text_sequence=randn(3, 3, 6), text_masked_sequence=randn(3, 3, 6))
    projected = lambda: dict(projected_image_embeddings=randn(3, 8), projected_text_embeddings=randn(3, 8))
    pair = lambda: {**image(), **text(), **projected(), "multimodal_masked_sequence": randn(3, 9, 6)}
    labels = dict(mim_labels=MIM, mlm_labels=MLM)

    def run(label, inputs, config={}, **kwargs):
        case(f"{name}-{label}", name, {**LOSS, **config}, inputs, **kwargs)

    run("pairs-train", lambda: {**pair(), **labels, "itm_labels": tensor([1, 0, 1])}, mode="train")
    run("pairs-none-true", lambda: {**pair(), **labels, "itm_labels": tensor([0, 0, 0])}, mode="train")
    run("pairs-unlabelled", pair)
    run("pairs-weights", lambda: {**pair(), **labels, "itm_labels": tensor([1, 1, 0])},
        dict(contrastive_loss_weight=0.5, mmm_image_loss_weight=2.0, mmm_text_loss_weight=0.25, itm_loss_weight=3.0))
    run("pairs-unjudged", lambda: {**pair(), **labels}, dict(itm_loss_weight=0))
    run("pairs-contrastive", pair, dict(itm_loss_weight=0, mmm_text_loss_weight=0, mmm_image_loss_weight=0))
    run("image-train", lambda: {**image(), "mim_labels": MIM}, dict(mim_weight=0.5), mode="train")
    run("image-unlabelled", image)
    run("text-train", lambda: {**text(), "mlm_labels": MLM}, mode="train")
    run("text-shorter", lambda: {**text(), "mlm_labels": MLM[:, 1:]}, dict(mlm_weight=2.0))
    run("text-unlabelled", text)
    run("both-apart", lambda: {**image(), **text(), **projected(), **labels}, mode="train",
        note="without a sequence of both, patches and words count alone, beside the contrastive loss")


ENCODER = dict(hidden_size=8, num_attention_heads=2, num_hidden_layers=2, intermediate_size=12)
IMAGE = dict(ENCODER, image_size=8, patch_size=4)
PATCHES = tensor([[1, 0, 0, 1], [0, 0, 1, 0]])
TEXT = dict(ENCODER, vocab_size=13, max_position_embeddings=7)
WORDS = tensor([[5, 12, 3, 7, 1], [2, 9, 4, 0, 0]])


def encoders():
    embeddings = dict(image_size=8, patch_size=4, hidden_size=8)
    pixels = lambda: dict(pixel_values=randn(2, 3, 8, 8))
    masked = lambda: dict(pixel_values=randn(2, 3, 8, 8), image_patches_mask=PATCHES)
    name = "ImageEmbeddings"
    case(f"{name}", name, embeddings, pixels)
    case(f"{name}-mask", name, embeddings, masked, mode="train")
    case(f"{name}-mask-ignored", name, dict(embeddings, use_image_masking=False), masked)
    larger = lambda: dict(pixel_values=randn(1, 3, 16, 12))
    case(f"{name}-interpolated", name, embeddings, larger, args=dict(interpolate_pos_encoding=True))
    case(f"{name}-shrunk", name, dict(embeddings, image_size=12), lambda: dict(pixel_values=randn(1, 3, 8, 8)),
         args=dict(interpolate_pos_encoding=True))
    name = "flava_image_encoder"
    case(f"{name}-eval", name, IMAGE, pixels)
    case(f"{name}-masked", name, dict(IMAGE, use_image_masking=True), masked, mode="train")
    case(f"{name}-attention", name, dict(IMAGE, intermediate_activation="nn.ReLU", layer_norm_eps=1e-3, num_channels=1),
         lambda: dict(pixel_values=randn(2, 1, 8, 8), attention_mask=tensor([1, 1, 0, 1, 0]).view(1, 1, 1, 5)))
    name = "flava_text_encoder"
    details = dict(return_attn_weights=True, return_hidden_states=True)
    case(f"{name}-eval", name, TEXT, lambda: dict(input_ids=WORDS), args=details)
    case(f"{name}-train", name, dict(TEXT, type_vocab_size=3, pad_token_id=1), mode="train",
         inputs=lambda: dict(input_ids=WORDS, token_type_ids=tensor([[0, 0, 1, 2, 2]] * 2),
                             attention_mask=tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]])))
    name = "flava_multimodal_encoder"
    states = lambda **more: lambda: dict(hidden_states=randn(2, 4, 8), **more)
    case(f"{name}-eval", name, ENCODER, states())
    case(f"{name}-train", name, dict(ENCODER, num_hidden_layers=1), mode="train",
         inputs=states(attention_mask=tensor([1, 1, 0, 1, 1]).view(1, 1, 1, 5)))


MODEL = dict(image_hidden_size=8, image_num_attention_heads=2, image_num_hidden_layers=2, image_intermediate_size=12,
             image_size=8, patch_size=4, text_hidden_size=6, text_num_attention_heads=3, text_num_hidden_layers=1,
             text_intermediate_size=10, vocab_size=13, max_position_embeddings=7, multimodal_hidden_size=4,
             multimodal_num_attention_heads=2, multimodal_num_hidden_layers=1, multimodal_intermediate_size=6,
             text_and_image_proj_size=5)


def image(): return dict(image=randn(2, 3, 8, 8))
def words(): return dict(text=WORDS)
def masks(): return dict(image_patches_mask=PATCHES, text_masked=torch.where(WORDS == 3, 11, WORDS))


def models():
    name = "flava_model"
    run = lambda label, inputs, **kwargs: case(f"{name}-{label}", name, MODEL, inputs, **kwargs)
    run("pair", lambda: {**image(), **words(), **masks()}, args=dict(skip_unmasked_mm_encoder=False))
    run("pair-train", lambda: {**image(), **words(), **masks()}, mode="train")
    run("pair-unmasked", lambda: {**image(), **words()}, args=dict(skip_unmasked_mm_encoder=False))
    run("image", image, mode="train")
    run("image-masked", lambda: {**image(), "image_patches_mask": PATCHES})
    run("text", lambda: {**words(), "text_masked": WORDS.flip(1)}, mode="train")
    run("text-of-pair", lambda: {**image(), **words()}, args=dict(required_embedding="text"))
    run("image-of-pair", lambda: {**image(), **words(), **masks()}, args=dict(required_embedding="image"))
    run("pair-without-image", words, args=dict(required_embedding="mm", skip_unmasked_mm_encoder=False))
    run("encode-image", image, method="encode_image", args=dict(projection=True))
    run("encode-image-masked", lambda: {**image(), "image_patches_mask": PATCHES}, method="encode_image")
    run("encode-text", words, method="encode_text", args=dict(projection=True))
    run("encode-text-mask", lambda: {**words(), "text_mask": tensor([[1, 1, 0, 1, 0]] * 2)}, method="encode_text")
    run("encode-mm", lambda: dict(image_embedding=randn(2, 5, 8), text_embedding=randn(2, 3, 6)), method="encode_mm")
    name = "flava_model_for_classification"
    head = dict(MODEL, num_classes=3, classifier_in_dim=4, classifier_hidden_sizes=7, classifier_dropout=0.0,
                pretrained=False)
    labels = dict(labels=tensor([2, 0]))
    case(f"{name}-pair", name, head, lambda: {**image(), **words(), **labels}, mode="train",
         args=dict(required_embedding="mm"))
    case(f"{name}-inferred", name, dict(head, classifier_dropout=0.5, classifier_activation="nn.GELU"),
         lambda: {**image(), **words(), **labels})
    case(f"{name}-image", name, dict(head, classifier_in_dim=8, classifier_hidden_sizes=[5, 6],
                                     classifier_normalization="nn.LayerNorm"),
         lambda: {**image(), **words(), **labels}, args=dict(required_embedding="image", cls_index=2))
    case(f"{name}-text", name, dict(head, classifier_in_dim=6), lambda: {**words(), **labels},
         args=dict(required_embedding="text", cls_index=-1))


def pretraining():
    name = "FLAVAForPreTraining"
    config = dict(model=dict(MODEL, **{"class": "flava_model"}),
                  image_codebook={"class": "DalleVAEEncoder",
                                  "encoder": dict(n_hid=4, n_blk_per_group=1, vocab_size=7)},
                  loss={"class": "FLAVAPretrainingLoss", **dict(LOSS, hidden_size=4, text_vocab_size=13)})
    picture = lambda: dict(image=randn(2, 3, 8, 8), image_for_codebook=torch.rand(2, 3, 16, 16),
                           image_patches_mask=PATCHES.view(2, 2, 2))
    sentence = lambda: dict(text=WORDS, text_masked=torch.where(WORDS == 3, 11, WORDS),
                            mlm_labels=torch.where(WORDS == 3, WORDS, -1))
    run = lambda label, inputs, config=config, **kwargs: case(
        f"{name}-{label}", name, config, inputs, scale=0.3, **kwargs)
    run("pair-train", lambda: {**picture(), **sentence(), "itm_labels": tensor([1, 0])}, mode="train")
    run("pair-eval", lambda: {**picture(), **sentence(), "itm_labels": tensor([1, 1])},
        args=dict(skip_unmasked_mm_encoder=False))
    run("encode-image", image, method="encode_image")
    # Alone, words and patches are predicted from vectors of the heads' width.
    wide = {**config, "loss": dict(config["loss"], hidden_size=8)}
    run("image-train", picture, wide, mode="train")
    narrow = {**config, "loss": dict(config["loss"], hidden_size=6)}
    run("text-train", sentence, narrow, mode="train")


def keys():
    with torch.device("meta"):  # shapes only
        for name in ("flava_image_encoder", "flava_text_encoder", "flava_multimodal_encoder", "flava_model",
                     "flava_model_for_pretraining"):
            key_list(name, build({"class": name}))
        config = dict(num_classes=3129)
        name = "flava_model_for_classification"
        key_list(name, model.flava_model_for_classification(pretrained=False, **config), config)


PARTS = dict(codebook=codebook, heads=heads, pretraining_loss=pretraining_loss, encoders=encoders, models=models,
             pretraining=pretraining, keys=keys)

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
