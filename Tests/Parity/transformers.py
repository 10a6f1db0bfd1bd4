"""Transformer encoders and decoders of both layouts of keys. Run: python transformers.py"""
import contextlib

import torch
from fixture import case, classes
from torchmultimodal.models.flava import transformer as flava
from torchmultimodal.modules.layers import activation, transformer
from torchmultimodal.utils.attention import get_causal_attention_mask

randn = torch.randn
classes(**{
    "SiLU": activation.SiLU,
    "TransformerEncoderLayer": transformer.TransformerEncoderLayer,
    "TransformerEncoder": transformer.TransformerEncoder,
    "layers.transformer.TransformerDecoderLayer": transformer.TransformerDecoderLayer,
    "layers.transformer.TransformerDecoder": transformer.TransformerDecoder,
    "flava.transformer.TransformerEncoderLayer": flava.TransformerEncoderLayer,
    "flava.transformer.TransformerEncoder": flava.TransformerEncoder,
})
LAYER = dict(d_model=8, n_head=2, dim_feedforward=12)


def keep(*shape):
    """A mask in which every query sees the first key."""
    mask = torch.rand(*shape) > 0.4
    mask[..., 0] = True
    return mask


def joined():
    name = "TransformerEncoderLayer"
    x = lambda: dict(hidden_states=randn(2, 5, 8))
    case(f"{name}-post", name, LAYER, x)
    case(f"{name}-pre-mask", name, dict(LAYER, norm_first=True, activation="nn.GELU"),
         lambda: dict(x(), attention_mask=keep(2, 1, 5, 5)))
    case(f"{name}-bias", name, dict(LAYER, activation="SiLU", layer_norm_eps=1e-5),
         lambda: dict(x(), attention_mask=randn(2, 2, 5, 5)), mode="train")
    name = "TransformerEncoder"
    config = dict(LAYER, n_layer=2)
    for mode in ("eval", "train"):
        case(f"{name}-pre-{mode}", name, dict(config, norm_first=True, final_layer_norm_eps=1e-6, drop_path_rate=0.0),
             x, args=dict(return_hidden_states=True), mode=mode)
    case(f"{name}-post", name, config, lambda: dict(x(), attention_mask=keep(5, 5)), mode="train")
    case(f"{name}-dropout-keys", name, dict(config, dropout=0.1, drop_path_rate=0.3, final_layer_norm_eps=0.0), x)


def apart():
    name = "flava.transformer.TransformerEncoderLayer"
    x = lambda: dict(hidden_states=randn(2, 5, 8))
    case(f"{name}-post", name, LAYER, x, args=dict(return_attn_weights=True))
    case(f"{name}-pre", name, dict(LAYER, norm_first=True, activation="nn.GELU"),
         lambda: dict(x(), attention_mask=keep(2, 1, 1, 5), head_mask=torch.rand(1, 2, 5, 5)))
    name = "flava.transformer.TransformerEncoder"
    config = dict(LAYER, n_layer=2)
    everything = dict(return_hidden_states=True, return_attn_weights=True)
    case(f"{name}-everything", name, dict(config, norm_first=True, final_layer_norm_eps=1e-6),
         lambda: dict(x(), attention_mask=keep(2, 1, 1, 5), head_mask=torch.rand(2, 5, 5)), args=everything)
    case(f"{name}-train", name, dict(config, activation="nn.GELU"), lambda: dict(x(), attention_mask=keep(2, 1, 1, 5)),
         mode="train")
    case(f"{name}-dropout-keys", name, dict(config, dropout=0.1, norm_first=True), x)


@contextlib.contextmanager
def cross_attention_masks():
    """The peer's decoder does not hand the mask of cross-attention to its layers; with this it does."""
    decoder = transformer.TransformerDecoder
    original = decoder.forward

    def forward(self, hidden_states, encoder_hidden_states=None, attention_mask=None, cross_attention_mask=None,
                **rest):
        # Bound as arguments of the module call, so that every layer receives it.
        hooks = [layer.register_forward_pre_hook(
            lambda _, args, kwargs: (args, dict(kwargs, cross_attention_mask=cross_attention_mask)), with_kwargs=True)
            for layer in self.layer]
        try:
            return original(self, hidden_states, encoder_hidden_states, attention_mask, **rest)
        finally:
            for hook in hooks:
                hook.remove()

    decoder.forward = forward
    try:
        yield
    finally:
        decoder.forward = original


def decoders():
    name = "layers.transformer.TransformerDecoderLayer"
    x = lambda: dict(hidden_states=randn(2, 4, 8))
    both = lambda: dict(x(), encoder_hidden_states=randn(2, 3, 8))
    causal = get_causal_attention_mask(4).bool()
    case(f"{name}-post", name, LAYER, lambda: dict(both(), attention_mask=causal, cross_attention_mask=keep(2, 1, 4, 3)),
         args=dict(use_cache=True))
    case(f"{name}-pre", name, dict(LAYER, norm_first=True, dim_kv=6, activation="nn.GELU"),
         lambda: dict(x(), encoder_hidden_states=randn(2, 3, 6), cross_attention_mask=randn(4, 3)), mode="train")
    case(f"{name}-pre-alone", name, dict(LAYER, norm_first=True), x)
    case(f"{name}-past", name, dict(LAYER, use_cross_attention=False),
         lambda: {"hidden_states": randn(2, 2, 8), "past_key_value.0": randn(2, 2, 3, 4),
                  "past_key_value.1": randn(2, 2, 3, 4)}, args=dict(use_cache=True))
    name = "layers.transformer.TransformerDecoder"
    config = dict(LAYER, n_layer=3)
    with cross_attention_masks():
        case(f"{name}-masks", name, dict(config, norm_first=True, final_layer_norm_eps=1e-5, cross_attention_interval=2),
             lambda: dict(both(), attention_mask=causal, cross_attention_mask=keep(2, 1, 4, 3)),
             args=dict(use_cache=True, return_hidden_states=True),
             note="the peer drops the mask of cross-attention; here it was made to hand it on")
        case(f"{name}-train", name, dict(config, n_layer=2, activation="nn.GELU", dim_kv=6),
             lambda: dict(x(), encoder_hidden_states=randn(2, 3, 6), cross_attention_mask=keep(4, 3)), mode="train")
    past = lambda: {f"past_key_values.{i}.{j}": randn(2, 2, 3, 4) for i in range(2) for j in range(2)}
    case(f"{name}-past", name, dict(config, n_layer=2, use_cross_attention=False, dropout=0.1),
         lambda: dict(hidden_states=randn(2, 2, 8), **past(), attention_mask=keep(2, 5)), args=dict(use_cache=True))


if __name__ == "__main__":
    joined()
    apart()
    decoders()
