"""The multimodal GPT: whole models, a greedy generation. Run: python video_gpt.py"""
import json
import os
from functools import partial

import layers  # noqa: F401  (its classes)
import torch
import vqvae
from fixture import METADATA, ROOT, build, case, classes, copied, perturb, save, save_json
from safetensors.torch import save_file
from torch import nn
from torchmultimodal.models.video_gpt import gpt, model
from torchmultimodal.utils.attention import get_causal_attention_mask
from torchmultimodal.utils.generate import GenerationUtil, get_logits_mask


class TextTokenizer(nn.Module):
    """Token embedding of the MUGEN example's tokenizer, which is not in the peer's package: ids in, ids out."""

    def __init__(self, context_len, d_model, vocab_size=1024):
        super().__init__()
        self.num_text_tokens = vocab_size + context_len  # a pad id of its own for each position
        self.embedding = nn.Embedding(self.num_text_tokens, d_model)

    def encode(self, ids, **_):
        return ids

    def lookup(self, ids):
        return self.embedding(ids)


def text_video_gpt(text_seq_len=128, video_seq_len=32, resolution=256, downsample=(4, 32, 32), d_model=768, n_head=8,
                   dropout=0.2, attn_dropout=0.3, num_decoder_layers=12, use_gpt_init=True, text_vocab_size=1024,
                   video_vqvae=None):
    """The MUGEN example's model. The last two arguments are not the example's: they make it small enough to keep."""
    codec = vqvae.video_vqvae_mugen(**(video_vqvae or {}))
    shape = (video_seq_len, resolution, resolution)
    latent = tuple(size // factor for size, factor in zip(shape, downsample))
    if latent != tuple(codec.latent_shape(shape)):
        raise ValueError(f"latent shape {latent} is not the codec's {codec.latent_shape(shape)}")
    tokenizer = TextTokenizer(text_seq_len, d_model, text_vocab_size)
    layer = gpt.TransformerDecoderLayer(d_model, n_head, dropout, attn_module=build(
        {"class": "SelfAttention", "attn_dropout": attn_dropout}))
    decoder = gpt.MultimodalTransformerDecoder(
        nn.Embedding(text_seq_len, d_model),
        build({"class": "BroadcastedPositionEmbedding", "latent_shape": latent, "embedding_dim": d_model}),
        gpt.TransformerDecoder(layer, num_decoder_layers), gpt.RightShift(d_model))
    return gpt.MultimodalGPT(
        d_model, tokenizer.num_text_tokens, codec.num_embeddings, latent, tokenizer, codec, decoder, nn.Identity(),
        nn.Linear(codec.embedding_dim, d_model, bias=False), use_gpt_init=use_gpt_init)


def video_gpt(video_vqvae=None, **kwargs):
    """The peer's factory with its two tokenizers made small: `video_vqvae` holds their keyword arguments."""
    original = model.video_vqvae
    model.video_vqvae = partial(original, **(video_vqvae or {}))
    try:
        return model.video_gpt(**kwargs)
    finally:
        model.video_vqvae = original


classes(MultimodalGPT=gpt.MultimodalGPT, TextTokenizer=TextTokenizer, text_video_gpt=text_video_gpt,
        video_gpt=video_gpt)


def composition(text, vocabulary, latent, d, heads, depth, codec, width, dropout=0.0):
    """Arguments of MultimodalGPT for text to video; `codec` describes the VQVAE, `width` is its embedding_dim."""
    return dict(
        d_model=d, num_in_tokens=vocabulary + text, num_out_tokens=codec["num_embeddings"], latent_shape=list(latent),
        in_tokenizer={"class": "TextTokenizer", "context_len": text, "d_model": d, "vocab_size": vocabulary},
        out_tokenizer=codec,
        mm_decoder={
            "class": "MultimodalTransformerDecoder",
            "in_pos_emb": {"class": "nn.Embedding", "num_embeddings": text, "embedding_dim": d},
            "out_pos_emb": {"class": "BroadcastedPositionEmbedding", "latent_shape": list(latent), "embedding_dim": d},
            "decoder": {"class": "TransformerDecoder", "decoder_layer": layers.layer_spec(d, heads, dropout=dropout),
                        "num_layers": depth},
            "right_shift": {"class": "RightShift", "embedding_dim": d}},
        in_projection={"class": "nn.Identity"},
        out_projection={"class": "nn.Linear", "in_features": width, "out_features": d, "bias": False})


TINY = dict(encoder_hidden_dim=4, n_res_layers=1, attn_hidden_dim=4, num_embeddings=14, embedding_dim=6,
            decoder_hidden_dim=4)


def tokens(text, vocabulary, video, codes, batch=2):
    return dict(in_tokens=torch.randint(0, vocabulary, (batch, text)),
                out_tokens=torch.randint(0, codes, (batch, video)))


def masked(text, vocabulary, video, codes, batch=2):
    length = text + video
    return dict(tokens(text, vocabulary, video, codes, batch),
                attn_mask=get_causal_attention_mask(length).bool(),
                logits_mask=get_logits_mask(text, video, vocabulary, codes).bool())


def models():
    name = "MultimodalGPT"
    codec = {"class": "video_gpt.model.video_vqvae", **TINY}
    config = composition(5, 9, (2, 2, 2), 12, 3, 2, codec, 6)
    both = lambda: masked(5, 14, 8, 14)
    case(f"{name}-eval", name, config, both)
    case(f"{name}-shifted", name, config, both, args=dict(right_shift=True, return_hidden_states=True,
                                                          return_attn_weights=True))
    case(f"{name}-train", name, config, both, mode="train")
    case(f"{name}-no-mask", name, config, lambda: tokens(5, 14, 8, 14),
         note="without attn_mask nothing is causal, whatever the flag `causal` says", args=dict(causal=True))
    case(f"{name}-in-only", name, config,
         lambda: dict(in_tokens=torch.randint(0, 14, (2, 3)), in_pos_ids=torch.tensor([[2, 3, 4]]),
                      attn_mask=get_causal_attention_mask(3).bool()))
    case(f"{name}-out-only", name, config,
         lambda: dict(out_tokens=torch.randint(0, 14, (2, 1)), out_pos_ids=torch.tensor([[6]])))
    case(f"{name}-fwd", name, config, lambda: {k: v for k, v in both().items() if k != "logits_mask"}, method="fwd",
         args=dict(right_shift=True))
    case(f"{name}-decode", name, config, lambda: dict(token_ids=torch.randint(0, 14, (2, 8))), method="decode",
         vjp=False)
    case(f"{name}-encode-out", name, config, lambda: dict(x=torch.randn(1, 3, 4, 4, 4)), method="encode",
         args=dict(modality="out"), vjp=False)

    config = dict(text_seq_len=4, video_seq_len=8, resolution=64, d_model=12, n_head=2, dropout=0.0, attn_dropout=0.0,
                  num_decoder_layers=2, text_vocab_size=7, video_vqvae=TINY)
    for mode in ("eval", "train"):
        case(f"text_video_gpt-{mode}", "text_video_gpt", config, lambda: masked(4, 11, 8, 14), mode=mode)
    config = dict(input_shape=[4, 8, 4], latent_shape=[2, 4, 2], d_model=12, n_head=2, dropout=0.0, attn_dropout=0.0,
                  num_decoder_layers=2, video_vqvae=TINY)
    both = lambda: masked(16, 14, 16, 14)
    for mode in ("eval", "train"):
        case(f"video_gpt-{mode}", "video_gpt", config, both, mode=mode)


def greedy():
    """mugen_small: the whole job in small, prompt ids to frames, with every step's scores."""
    folder = os.path.join(ROOT, "mugen_small")
    os.makedirs(folder, exist_ok=True)
    text, vocabulary, latent, codes, width = 12, 28, (2, 4, 4), 32, 16
    filters = [[3, 3, 3]] * 2
    codec = dict({"class": "video_gpt.model.video_vqvae"}, conv_filter_sizes=filters,
                 conv_filter_strides=[[2, 2, 2]] * 2, encoder_hidden_dim=12, n_res_layers=1, attn_hidden_dim=12,
                 num_embeddings=codes, embedding_dim=width, decoder_hidden_dim=12)
    config = composition(text, vocabulary, latent, 48, 4, 2, codec, width)
    torch.manual_seed(11)
    target = perturb(build({"class": "MultimodalGPT", **config}), 0.1).eval()
    with torch.no_grad():  # codes and positions that matter, scores far apart: varied ids that do not hang on rounding
        target.out_tokenizer.codebook.embedding.mul_(3)
        for name, parameter in target.mm_decoder.named_parameters():
            if name.startswith(("out_pos_emb", "decoder")) and parameter.dim() > 1:
                parameter.mul_(2)
        target.to_logit.weight.mul_(4)
    ids = torch.randint(0, vocabulary + text, (2, text))
    samples = []
    for row in range(ids.shape[0]):
        for layer in target.mm_decoder.decoder.layers:
            layer.attention.cache = None  # the peer never clears it
        job = GenerationUtil(target)
        choose = job._filter_logits
        # A copy: the peer's filters overwrite the very scores that it returns.
        job._filter_logits = lambda logits, **options: choose(logits.clone(), **options)
        samples.append(job.sample(ids[row:row + 1], max_seq_len=32, use_cache=True, causal=True, top_k=1))
    scores = torch.cat([torch.cat([o.logits for o in s.model_outputs], 1) for s in samples])
    scores = scores[:, :, vocabulary + text:]
    best = scores.topk(2).values
    margin = (best[..., 0] - best[..., 1]).min().item()
    if margin < 1e-3:
        raise ValueError(f"two best scores only {margin} apart, choose another seed")
    save_path = os.path.join(folder, "model.safetensors")
    save_file(copied(target.state_dict()), save_path, metadata=METADATA)
    save(os.path.join(folder, "io.safetensors"), dict(
        prompt_ids=ids, greedy_ids=torch.cat([s.tokens for s in samples]), logits=scores,
        frames=torch.cat([s.decoded for s in samples])))
    save_json(os.path.join(folder, "config.json"), {"model": "MultimodalGPT", **config})
    save_json(os.path.join(folder, "about.json"), dict(
        margin=margin, logits="greedy scores of the output ids only: (prompt, step, code)",
        distinct_ids=len(set(torch.cat([s.tokens for s in samples]).flatten().tolist()))))
    print("mugen_small: margin", margin, json.dumps({f: os.path.getsize(os.path.join(folder, f))
                                                     for f in sorted(os.listdir(folder))}))


if __name__ == "__main__":
    models()
    greedy()
