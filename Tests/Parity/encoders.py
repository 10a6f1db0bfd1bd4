"""Encoders that several models share: BERT's text encoder, vision transformers, masking. Run: python encoders.py"""
import contextlib

import torch
from fixture import case, classes, key_list
from torchmultimodal.modules.encoders import bert_text_encoder, vision_transformer
from torchmultimodal.modules.layers import activation, mlp, normalizations, patch_embedding, text_embedding
from torchmultimodal.modules.masking import random_masking

randn = torch.randn
classes(
    SiLU=activation.SiLU, MLP=mlp.MLP, Fp32LayerNorm=normalizations.Fp32LayerNorm,
    BERTTextEmbeddings=text_embedding.BERTTextEmbeddings, bert_text_encoder=bert_text_encoder.bert_text_encoder,
    PatchEmbeddings=patch_embedding.PatchEmbeddings, GlobalAveragePooler=vision_transformer.GlobalAveragePooler,
    vision_transformer=vision_transformer.vision_transformer)


def ids(*shape, high=20):
    """Token ids of which some are padding (0), never the first."""
    drawn = torch.randint(1, high, shape)
    drawn[:, 1:] *= torch.rand(shape)[:, 1:] > 0.3
    return drawn


def text():
    name = "BERTTextEmbeddings"
    config = dict(hidden_size=6, vocab_size=20, max_position_embeddings=9)
    case(f"{name}-ids", name, config, lambda: dict(input_ids=ids(2, 5)))
    case(f"{name}-everything", name, dict(config, pad_token_id=3, type_vocab_size=4, layer_norm_eps=1e-5, dropout=0.1),
         lambda: dict(input_ids=ids(2, 5), token_type_ids=torch.randint(0, 4, (2, 5)),
                      position_ids=torch.randint(0, 9, (2, 5))))
    case(f"{name}-offset", name, dict(config, pad_token_id=1, offset_pos_ids=True),
         lambda: dict(input_ids=torch.tensor([[5, 7, 9, 1, 1], [4, 1, 6, 8, 1]])), mode="train")
    case(f"{name}-embedded", name, config, lambda: dict(inputs_embeds=randn(2, 5, 6)))
    case(f"{name}-positions", name, dict(config, pad_token_id=2),
         lambda: dict(input_ids=torch.tensor([[2, 3, 2, 9], [0, 2, 2, 1]])), vjp=False,
         method="create_position_ids_from_input_ids")
    name = "bert_text_encoder"
    config = dict(hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, vocab_size=20,
                  max_position_embeddings=9, dropout=0.0)
    everything = dict(return_attn_weights=True, return_hidden_states=True)
    for mode in ("eval", "train"):
        case(f"{name}-{mode}", name, config, lambda: dict(input_ids=ids(2, 5)), mode=mode)
    case(f"{name}-everything", name,
         dict(config, norm_first=True, layernorm={"class": "Fp32LayerNorm", "normalized_shape": 8, "eps": 1e-6},
              pooler={"class": "GlobalAveragePooler", "input_dim": 8, "output_dim": 3}, transform_act_fn="nn.ReLU"),
         lambda: dict(input_ids=ids(2, 5), token_type_ids=torch.randint(0, 2, (2, 5))), args=everything)
    case(f"{name}-offset-mask", name, dict(config, pad_token_id=1, offset_pos_ids=True, layer_norm_eps=1e-5),
         lambda: dict(input_ids=torch.tensor([[5, 7, 9, 1], [4, 2, 6, 8]]),
                      attention_mask=torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1]])), args=everything)
    case(f"{name}-causal", name, config,
         lambda: dict(input_ids=ids(2, 5), attention_mask=torch.tril(torch.ones(2, 5, 5)).long()))
    case(f"{name}-embedded", name, config, lambda: dict(inputs_embeds=randn(2, 4, 8)), mode="train")
    case(f"{name}-dropout-keys", name, dict(config, dropout=0.1), lambda: dict(input_ids=ids(2, 5)))


def images():
    name = "PatchEmbeddings"
    config = dict(image_size=[4, 6], patch_size=2, num_channels=2, hidden_size=5)
    pixels = lambda: dict(pixel_values=randn(2, 2, 4, 6))
    case(f"{name}-eval", name, dict(config, patch_drop_rate=0.5), pixels)
    case(f"{name}-mask", name, dict(config, use_image_masking=True, hidden_dropout_prob=0.1),
         lambda: dict(pixels(), image_patches_mask=torch.randint(0, 2, (2, 6))))
    case(f"{name}-no-cls", name, dict(config, include_cls_embed=False, image_size=6),
         lambda: dict(pixel_values=randn(1, 2, 6, 6)), mode="train")
    for output in (None, 3):
        case(f"GlobalAveragePooler-{output}", "GlobalAveragePooler", dict(input_dim=6, output_dim=output, ln_eps=1e-5),
             lambda: dict(x=randn(2, 5, 6)))
    name = "vision_transformer"
    config = dict(patch_size=2, hidden_dim=8, dim_feedforward=12, n_layer=2, n_head=2, image_size=6)
    x = lambda: dict(images=randn(2, 3, 6, 6))
    for mode in ("eval", "train"):
        case(f"{name}-{mode}", name, config, x, mode=mode)
    case(f"{name}-pooler", name,
         dict(config, image_size=[4, 8], num_channels=1, final_layer_norm_eps=None, norm_first=False,
              activation="SiLU", layer_norm_eps=1e-5, pooler={"class": "GlobalAveragePooler", "input_dim": 8}),
         lambda: dict(images=randn(2, 1, 4, 8)))
    case(f"{name}-mask", name, dict(config, include_cls_embed=False, transformer_dropout=0.1, drop_path_rate=0.2,
                                    patch_drop_rate=[0.4, 0.4], patch_embed_dropout_prob=0.1),
         lambda: dict(x(), attention_mask=torch.rand(2, 1, 9, 9) > 0.3))


@contextlib.contextmanager
def given(*noise):
    """The peer draws its noise itself; with this it takes what is given, in order."""
    pending, original = list(noise), torch.rand
    torch.rand = lambda *shape, **options: pending.pop(0)
    try:
        yield
    finally:
        torch.rand = original


def masked(x, noise, **args):
    with given(noise):
        return random_masking.random_masking(x, **args)


def masked_2d(x, noise_h, noise_w, **args):
    with given(noise_h, noise_w):
        return random_masking.random_masking_2d(x, **args)


def masking():
    note = "noise is given here; the peer draws it"
    for ratio in (0.0, 0.3, 0.75):
        case(f"random_masking-{ratio}", "random_masking", target=masked, args=dict(mask_ratio=ratio), note=note,
             inputs=lambda: dict(x=randn(2, 7, 3), noise=torch.rand(2, 7)))
    for label, rows, columns in (("", 0.5, 0.25), ("-none", 0.0, 0.0), ("-all", 1.0, 1.0)):
        case(f"random_masking_2d{label}", "random_masking_2d", target=masked_2d, note=note,
             args=dict(mask_ratio_h=rows, mask_ratio_w=columns, num_patches_h=3, num_patches_w=4),
             inputs=lambda: dict(x=randn(2, 12, 3), noise_h=torch.rand(2, 3), noise_w=torch.rand(2, 4)))


def defaults():
    """Keys and shapes of the factories' default models, none of which takes memory."""
    sizes = dict(patch_size=4, hidden_dim=8, dim_feedforward=12, n_layer=1, n_head=2)
    with torch.device("meta"):
        key_list("bert_text_encoder", bert_text_encoder.bert_text_encoder())
        key_list("vision_transformer", vision_transformer.vision_transformer(**sizes), sizes)
        for name in ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"):
            key_list(name, getattr(vision_transformer, name)())


if __name__ == "__main__":
    defaults()
    text()
    images()
    masking()
