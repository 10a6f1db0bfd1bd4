"""Layers: attention, convolutions, codebook, positions, MLP, normalisations, the GPT's parts. Run: python layers.py"""
import torch
from fixture import case, classes
from torchmultimodal.models.video_gpt import gpt, video_vqvae
from torchmultimodal.modules.layers import (
    activation, attention, attention_pooler, codebook, conv, mlp, multi_head_attention, normalizations,
    position_embedding)
from torchmultimodal.utils.attention import get_causal_attention_mask

randn = torch.randn
classes(
    Codebook=codebook.Codebook, SamePadConv3d=conv.SamePadConv3d, SamePadConvTranspose3d=conv.SamePadConvTranspose3d,
    AxialAttention=video_vqvae.AxialAttention, AxialAttentionBlock=video_vqvae.AxialAttentionBlock,
    AttentionResidualBlock=video_vqvae.AttentionResidualBlock, MultiHeadAttention=attention.MultiHeadAttention,
    SelfAttention=attention.SelfAttention, BroadcastedPositionEmbedding=position_embedding.BroadcastedPositionEmbedding,
    SinusoidalPositionEmbeddings=position_embedding.SinusoidalPositionEmbeddings, MLP=mlp.MLP,
    Fp32LayerNorm=normalizations.Fp32LayerNorm, Fp32GroupNorm=normalizations.Fp32GroupNorm,
    RMSNorm=normalizations.RMSNorm, SimpleRMSNorm=normalizations.SimpleRMSNorm, SiLU=activation.SiLU,
    GEGLU=activation.GEGLU, RightShift=gpt.RightShift, TransformerDecoderLayer=gpt.TransformerDecoderLayer,
    TransformerDecoder=gpt.TransformerDecoder, MultimodalTransformerDecoder=gpt.MultimodalTransformerDecoder,
    AttentionPooler=attention_pooler.AttentionPooler, CascadedAttentionPooler=attention_pooler.CascadedAttentionPooler,
    MultiHeadSelfAttention=multi_head_attention.MultiHeadSelfAttention,
    MultiHeadAttentionWithCache=multi_head_attention.MultiHeadAttentionWithCache)


def lower(n):
    return get_causal_attention_mask(n).bool()


def codebooks():
    for label, shape in [("1d", (2, 4, 7)), ("2d", (2, 4, 3, 5)), ("3d", (2, 4, 2, 3, 4))]:
        for mode in ("eval", "train"):
            case(f"Codebook-{label}-{mode}", "Codebook", dict(num_embeddings=10, embedding_dim=4),
                 lambda: dict(z=randn(shape)), mode=mode)
    config = dict(num_embeddings=6, embedding_dim=3, decay=0.9, codebook_usage_threshold=0.0, epsilon=1e-5)
    case("Codebook-decay-train", "Codebook", config, lambda: dict(z=randn(2, 3, 9)), mode="train")
    case("Codebook-lookup", "Codebook", dict(num_embeddings=10, embedding_dim=4),
         lambda: dict(indices=torch.randint(0, 10, (2, 3, 2))), method="lookup", vjp=False)


def convolutions():
    sizes = [(8, 8, 8), (7, 7, 7), (5, 8, 7)]
    for name in ("SamePadConv3d", "SamePadConvTranspose3d"):
        for kernel in (3, 4):
            for stride in (1, 2, 3):
                for size in sizes if stride > 1 else sizes[2:]:
                    if name.endswith("Transpose3d") and stride == 3:
                        size = tuple(d - 3 for d in size)
                    elif name.endswith("Transpose3d") and stride == 2:
                        size = tuple(d - 2 for d in size)
                    case(f"{name}-k{kernel}-s{stride}-{'x'.join(map(str, size))}", name,
                         dict(in_channels=2, out_channels=3, kernel_size=kernel, stride=stride),
                         lambda: dict(x=randn(1, 2, *size)))
        case(f"{name}-anisotropic", name,
             dict(in_channels=3, out_channels=2, kernel_size=[2, 3, 4], stride=[1, 2, 3], bias=False),
             lambda: dict(x=randn(2, 3, 4, 5, 6)))
        case(f"{name}-k4-s122", name, dict(in_channels=3, out_channels=2, kernel_size=[4, 4, 4], stride=[1, 2, 2]),
             lambda: dict(x=randn(2, 3, 3, 6, 5)))
        case(f"{name}-k1", name, dict(in_channels=4, out_channels=5, kernel_size=1, stride=1),
             lambda: dict(x=randn(2, 4, 2, 3, 3)))
        case(f"{name}-k2-s3", name, dict(in_channels=2, out_channels=2, kernel_size=2, stride=3),
             lambda: dict(x=randn(1, 2, 3, 6, 3)), note="stride above the kernel: positions are skipped")


def axial():
    for axis, shape in [(0, (2, 2, 5, 3)), (0, (1, 2, 2, 3, 4, 5)), (1, (1, 2, 2, 3, 4, 5)), (2, (1, 2, 2, 3, 4, 5))]:
        case(f"AxialAttention-axis{axis}-{len(shape) - 3}d", "AxialAttention", dict(axial_dim=axis),
             lambda: dict(q=randn(shape), k=randn(shape), v=randn(shape)))
    case("AxialAttentionBlock-3d", "AxialAttentionBlock", dict(n_dims=3, qkv_dim=6, n_head=2),
         lambda: dict(x=randn(2, 6, 2, 3, 4)))
    case("AxialAttentionBlock-2d", "AxialAttentionBlock", dict(n_dims=2, qkv_dim=8, n_head=4),
         lambda: dict(x=randn(2, 8, 5, 3)))
    for mode in ("eval", "train"):
        case(f"AttentionResidualBlock-{mode}", "AttentionResidualBlock", dict(hidden_dim=8, n_head=2),
             lambda: dict(x=randn(2, 8, 2, 3, 4)), mode=mode)
    case("AttentionResidualBlock-odd", "AttentionResidualBlock", dict(hidden_dim=7, n_head=1),
         lambda: dict(x=randn(1, 7, 2, 3, 3)))


def attentions():
    base = dict(dim_q=12, dim_kv=12, n_head=3)
    x = lambda: randn(2, 5, 12)
    case("MultiHeadAttention-self", "MultiHeadAttention", base, lambda: dict(q=x()))
    case("MultiHeadAttention-cross", "MultiHeadAttention", dict(dim_q=12, dim_kv=9, n_head=3),
         lambda: dict(q=x(), kv=randn(2, 7, 9)))
    case("MultiHeadAttention-causal", "MultiHeadAttention", base,
         lambda: dict(q=x(), attention_mask=lower(5)), args=dict(causal=True))
    case("MultiHeadAttention-weights", "MultiHeadAttention", base,
         lambda: dict(q=x(), attention_mask=(torch.rand(2, 1, 5, 5) > 0.3) | torch.eye(5).bool()),
         args=dict(return_attn_weights=True))
    case("MultiHeadAttention-head-mask", "MultiHeadAttention", base,
         lambda: dict(q=x(), head_mask=torch.rand(1, 3, 5, 5) > 0.4), args=dict(return_attn_weights=True))
    case("MultiHeadAttention-no-bias", "MultiHeadAttention", dict(base, add_bias=False), lambda: dict(q=x()))
    case("MultiHeadAttention-3d", "MultiHeadAttention", base, lambda: dict(q=randn(2, 2, 3, 2, 12)))
    case("MultiHeadAttention-axial", "MultiHeadAttention",
         dict(base, attn_module={"class": "AxialAttention", "axial_dim": 1}), lambda: dict(q=randn(2, 2, 3, 4, 12)))
    q = lambda: randn(2, 3, 5, 4)
    case("SelfAttention-1d", "SelfAttention", {}, lambda: dict(q=q(), k=q(), v=q()))
    case("SelfAttention-2d", "SelfAttention", {},
         lambda: dict(q=randn(2, 2, 2, 3, 4), k=randn(2, 2, 2, 3, 4), v=randn(2, 2, 2, 3, 4), attention_mask=lower(6)))
    function = attention.scaled_dot_product_attention
    name = "scaled_dot_product_attention"
    case(f"{name}-plain", name, inputs=lambda: dict(q=q(), k=q(), v=q()), target=function)
    case(f"{name}-masks", name, inputs=lambda: dict(
        q=q(), k=q(), v=q(), attention_mask=lower(5), head_mask=torch.rand(2, 3, 5, 5)), target=function)
    case(f"{name}-cross", name, inputs=lambda: dict(q=q(), k=randn(2, 3, 7, 4), v=randn(2, 3, 7, 6)), target=function)
    case(f"{name}-5d", name, target=function,
         inputs=lambda: dict(q=randn(2, 2, 3, 4, 5), k=randn(2, 2, 3, 6, 5), v=randn(2, 2, 3, 6, 5)))
    case("MultiHeadSelfAttention-plain", "MultiHeadSelfAttention", dict(embed_dim=8, num_heads=2),
         lambda: dict(query=randn(2, 5, 8)))
    case("MultiHeadSelfAttention-causal", "MultiHeadSelfAttention", dict(embed_dim=8, num_heads=2),
         lambda: dict(query=randn(2, 5, 8)), args=dict(is_causal=True))
    case("MultiHeadSelfAttention-bool-mask", "MultiHeadSelfAttention", dict(embed_dim=8, num_heads=2),
         lambda: dict(query=randn(2, 5, 8), attn_mask=(torch.rand(2, 1, 5, 5) > 0.3) | torch.eye(5).bool()))
    base = dict(dim_q=8, dim_kv=8, num_heads=2)
    name = "MultiHeadAttentionWithCache"
    case(f"{name}-self", name, base, lambda: dict(query=randn(2, 5, 8), key=randn(2, 5, 8), value=randn(2, 5, 8)))
    case(f"{name}-cross", name, dict(dim_q=8, dim_kv=6, num_heads=2, add_bias=False),
         lambda: dict(query=randn(2, 5, 8), key=randn(2, 4, 6), value=randn(2, 4, 6)))
    case(f"{name}-past", name, base,
         lambda: {"query": randn(2, 2, 8), "key": randn(2, 2, 8), "value": randn(2, 2, 8),
                  "past_key_value.0": randn(2, 2, 3, 4), "past_key_value.1": randn(2, 2, 3, 4)},
         args=dict(use_cache=True))
    pooler = dict(input_embed_dim=6, output_embed_dim=8, n_head=2, n_queries=3)
    case("AttentionPooler", "AttentionPooler", pooler, lambda: dict(x=randn(2, 5, 6)))
    second = dict({"class": "AttentionPooler"}, input_embed_dim=8, output_embed_dim=4, n_head=2, n_queries=1)
    case("CascadedAttentionPooler", "CascadedAttentionPooler",
         dict(poolers=[dict({"class": "AttentionPooler"}, **pooler), second]), lambda: dict(x=randn(2, 5, 6)))


def small_layers():
    name = "BroadcastedPositionEmbedding"
    case(f"{name}-3d", name, dict(latent_shape=[2, 3, 4], embedding_dim=9),
         lambda: dict(position_ids=torch.tensor([[0, 1, 5, 23, -1], [22, 12, 11, -1, 0]])))
    case(f"{name}-4d", name, dict(latent_shape=[2, 1, 3, 2], embedding_dim=8),
         lambda: dict(position_ids=torch.arange(12)[None]), note="one latent dimension alone fails in the peer")
    case(f"{name}-2d", name, dict(latent_shape=[3, 2], embedding_dim=4),
         lambda: dict(position_ids=torch.arange(-1, 6)[None]))
    case("SinusoidalPositionEmbeddings-even", "SinusoidalPositionEmbeddings", dict(embed_dim=10),
         lambda: dict(t=torch.tensor([0.0, 1.0, 17.0, 250.5])), vjp=False)
    case("SinusoidalPositionEmbeddings-odd", "SinusoidalPositionEmbeddings", dict(embed_dim=7),
         lambda: dict(t=torch.tensor([0.0, 3.0, 99.0])), vjp=False)
    x = lambda: dict(x=randn(3, 5))
    case("MLP-linear", "MLP", dict(in_dim=5, out_dim=3), x)
    case("MLP-one", "MLP", dict(in_dim=5, out_dim=3, hidden_dims=7, dropout=0.0), x)
    case("MLP-dropout-keys", "MLP", dict(in_dim=5, out_dim=3, hidden_dims=[7, 6], dropout=0.5), x)
    case("MLP-normalization", "MLP", dict(in_dim=5, out_dim=3, hidden_dims=[7, 6], dropout=0.0, activation="nn.GELU",
                                          normalization="nn.LayerNorm"), x)
    case("MLP-normalization-dropout", "MLP", dict(in_dim=5, out_dim=3, hidden_dims=[7, 6], dropout=0.1,
                                                  activation="SiLU", normalization="nn.BatchNorm1d"), x)
    case("MLP-train", "MLP", dict(in_dim=5, out_dim=3, hidden_dims=[6], dropout=0.0, activation="nn.Tanh",
                                  normalization="nn.BatchNorm1d"), lambda: dict(x=randn(8, 5)), mode="train")
    case("Fp32LayerNorm", "Fp32LayerNorm", dict(normalized_shape=6), lambda: dict(x=randn(2, 3, 6) * 2 + 1))
    case("Fp32LayerNorm-eps", "Fp32LayerNorm", dict(normalized_shape=[3, 6], eps=1e-12), lambda: dict(x=randn(2, 3, 6)))
    case("Fp32LayerNorm-plain", "Fp32LayerNorm", dict(normalized_shape=6, elementwise_affine=False),
         lambda: dict(x=randn(4, 6)))
    case("Fp32GroupNorm", "Fp32GroupNorm", dict(num_groups=2, num_channels=6), lambda: dict(x=randn(2, 6, 3, 2) + 1))
    case("Fp32GroupNorm-eps", "Fp32GroupNorm", dict(num_groups=3, num_channels=6, eps=1e-2, affine=False),
         lambda: dict(x=randn(2, 6, 5)))
    case("RMSNorm", "RMSNorm", dict(dim=6), lambda: dict(x=randn(2, 3, 6)))
    case("RMSNorm-eps", "RMSNorm", dict(dim=6, eps=0.1), lambda: dict(x=randn(2, 6)))
    case("SimpleRMSNorm", "SimpleRMSNorm", dict(dim=6), lambda: dict(x=randn(2, 3, 6)))
    case("SiLU", "SiLU", {}, lambda: dict(x=torch.cat([randn(20) * 3, torch.tensor([0.0, 30.0, -30.0])])))
    case("GEGLU-last", "GEGLU", {}, lambda: dict(x=randn(2, 3, 8)))
    case("GEGLU-dim1", "GEGLU", dict(dim=1), lambda: dict(x=randn(2, 4, 3)))
    case("RightShift", "RightShift", dict(embedding_dim=4), lambda: dict(x=randn(2, 5, 4)))
    case("RightShift-one", "RightShift", dict(embedding_dim=4), lambda: dict(x=randn(2, 1, 4)))


def layer_spec(d=12, heads=3, **extra):
    return {"class": "TransformerDecoderLayer", "d_model": d, "n_head": heads, "dropout": 0.0,
            "attn_module": {"class": "SelfAttention", "attn_dropout": 0.0}, **extra}


def decoder_parts():
    bare = {key: value for key, value in layer_spec().items() if key != "class"}
    x = lambda: randn(2, 6, 12)
    name = "TransformerDecoderLayer"
    case(f"{name}-eval", name, bare, lambda: dict(x=x()))
    case(f"{name}-causal", name, bare, lambda: dict(x=x(), attn_mask=lower(6)), args=dict(return_attn_weights=True))
    case(f"{name}-train", name, dict(bare, activation="nn.GELU"), lambda: dict(x=x(), attn_mask=lower(6)), mode="train")
    case(f"{name}-cache", name, bare, lambda: dict(x=x(), attn_mask=lower(6)), args=dict(use_cache=True, causal=True))
    config = dict(decoder_layer=layer_spec(), num_layers=2)
    name = "TransformerDecoder"
    case(f"{name}-eval", name, config, lambda: dict(hidden_states=x(), attn_mask=lower(6)))
    case(f"{name}-everything", name, config,
         lambda: dict(hidden_states=x(), attn_mask=lower(6), head_mask=torch.rand(3, 6, 6) > 0.2),
         args=dict(return_attn_weights=True, return_hidden_states=True, use_cache=True, causal=True))
    case(f"{name}-train", name, config, lambda: dict(hidden_states=x(), attn_mask=lower(6)), mode="train")
    name = "MultimodalTransformerDecoder"
    config = dict(in_pos_emb={"class": "nn.Embedding", "num_embeddings": 5, "embedding_dim": 12},
                  out_pos_emb={"class": "BroadcastedPositionEmbedding", "latent_shape": [2, 2, 2], "embedding_dim": 12},
                  decoder={"class": "TransformerDecoder", **dict(decoder_layer=layer_spec(), num_layers=2)},
                  right_shift={"class": "RightShift", "embedding_dim": 12})
    both = lambda: dict(in_modality=randn(2, 5, 12), out_modality=randn(2, 8, 12), attn_mask=lower(13))
    case(f"{name}-both", name, config, both)
    case(f"{name}-shifted", name, config, both, args=dict(right_shift=True, return_hidden_states=True))
    case(f"{name}-train", name, config, both, mode="train")
    case(f"{name}-in", name, config, lambda: dict(in_modality=randn(2, 4, 12), attn_mask=lower(4)),
         args=dict(right_shift=True))
    case(f"{name}-out-positions", name, config,
         lambda: dict(out_modality=randn(2, 3, 12), out_pos_ids=torch.tensor([[3, 4, 5], [7, 0, 1]]),
                      attn_mask=lower(3)))


if __name__ == "__main__":
    codebooks()
    convolutions()
    axial()
    attentions()
    small_layers()
    decoder_parts()
