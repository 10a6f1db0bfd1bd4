"""The video VQVAE: encoder, decoder, both builders, the MUGEN variant. Run: python vqvae.py"""
import torch
from fixture import case, classes, spread_codes
from torchmultimodal.models.video_gpt import model, video_vqvae
from torchmultimodal.models.vqvae import VQVAE


def video_vqvae_mugen(in_channel_dim=3, encoder_hidden_dim=240, encoder_kernel_size=3, n_res_layers=4,
                      attn_hidden_dim=240, num_embeddings=2048, embedding_dim=256, decoder_hidden_dim=240,
                      decoder_kernel_size=3):
    """The MUGEN example's VQVAE, which is not in the peer's package: strides (4, 32, 32) in five steps."""
    strides = ((2, 2, 2),) * 2 + ((1, 2, 2),) * 3
    steps = len(strides)
    encoder = video_vqvae.VideoEncoder(
        (in_channel_dim,) + (encoder_hidden_dim,) * steps, ((encoder_kernel_size,) * 3,) * (steps + 1),
        strides + ((1, 1, 1),), embedding_dim, n_res_layers, attn_hidden_dim)
    decoder = video_vqvae.VideoDecoder(
        (decoder_hidden_dim,) * (steps - 1) + (in_channel_dim,), ((decoder_kernel_size,) * 3,) * steps, strides,
        embedding_dim, n_res_layers, attn_hidden_dim)
    return VQVAE(encoder, decoder, num_embeddings, embedding_dim)


classes(**{"VideoEncoder": video_vqvae.VideoEncoder, "VideoDecoder": video_vqvae.VideoDecoder, "VQVAE": VQVAE,
           "video_gpt.model.video_vqvae": model.video_vqvae,
           "video_gpt.video_vqvae.video_vqvae": video_vqvae.video_vqvae, "video_vqvae_mugen": video_vqvae_mugen})


def both_modes(label, name, config, inputs, **options):
    for mode in ("eval", "train"):
        case(f"{label}-{mode}", name, config, inputs, mode=mode, **options)


def every_method(label, name, config, shape, latent, train_vjp=True, scale=0.05):
    """forward in both modes, then encode, decode and lookup by the names that users call."""
    x = lambda: dict(x=torch.randn(shape))
    ids = lambda: dict(indices=torch.randint(0, config["num_embeddings"], (shape[0], *latent)))
    case(f"{label}-eval", name, config, x, prepare=spread_codes, scale=scale)
    case(f"{label}-train", name, config, x, mode="train", vjp=train_vjp, prepare=spread_codes, scale=scale)
    case(f"{label}-encode", name, config, x, method="encode", vjp=False, prepare=spread_codes, scale=scale)
    case(f"{label}-encode-embeddings", name, config, x, method="encode", args=dict(return_embeddings=True),
         prepare=spread_codes, scale=scale)
    case(f"{label}-decode", name, config, ids, method="decode", scale=scale)
    case(f"{label}-lookup", name, config, ids, method="lookup", vjp=False)


if __name__ == "__main__":
    triple = lambda *values: [[value] * 3 for value in values]
    both_modes("VideoEncoder", "VideoEncoder", dict(
        in_channel_dims=[3, 6], kernel_sizes=triple(4, 3), strides=triple(2, 1), output_dim=5, n_res_layers=2,
        attn_hidden_dim=8), lambda: dict(x=torch.randn(2, 3, 4, 8, 8)))
    case("VideoEncoder-odd", "VideoEncoder", dict(
        in_channel_dims=[2, 4, 4], kernel_sizes=[[4, 4, 4], [3, 4, 4], [3, 3, 3]],
        strides=[[2, 2, 2], [1, 2, 2], [1, 1, 1]], output_dim=3, n_res_layers=1, attn_hidden_dim=6),
        lambda: dict(x=torch.randn(1, 2, 5, 9, 7)))
    both_modes("VideoDecoder", "VideoDecoder", dict(
        out_channel_dims=[6, 3], kernel_sizes=triple(4, 4), strides=triple(2, 1), input_dim=5, n_res_layers=2,
        attn_hidden_dim=8), lambda: dict(x=torch.randn(2, 5, 2, 3, 4)))
    case("VideoDecoder-anisotropic", "VideoDecoder", dict(
        out_channel_dims=[4, 2], kernel_sizes=triple(3, 3), strides=[[2, 2, 2], [1, 2, 2]], input_dim=3,
        n_res_layers=1, attn_hidden_dim=6), lambda: dict(x=torch.randn(1, 3, 1, 3, 2)))
    every_method("video_gpt.model.video_vqvae", "video_gpt.model.video_vqvae", dict(
        encoder_hidden_dim=8, n_res_layers=1, attn_hidden_dim=8, num_embeddings=12, embedding_dim=6,
        decoder_hidden_dim=8), (2, 3, 4, 8, 8), (2, 4, 4))
    case("video_gpt.model.video_vqvae-two-steps", "video_gpt.model.video_vqvae", dict(
        conv_filter_sizes=triple(4, 4), conv_filter_strides=[[1, 2, 2], [2, 2, 2]], encoder_filter_size=[1, 3, 3],
        in_channel_dim=1, encoder_hidden_dim=6, n_res_layers=2, attn_hidden_dim=4, num_embeddings=12, embedding_dim=4,
        decoder_hidden_dim=5), lambda: dict(x=torch.randn(2, 1, 4, 8, 16)), prepare=spread_codes)
    every_method("video_gpt.video_vqvae.video_vqvae", "video_gpt.video_vqvae.video_vqvae", dict(
        in_channel_dim=3, encoder_hidden_dim=6, encoder_kernel_size=3, encoder_stride=2, encoder_n_layers=2,
        n_res_layers=1, attn_hidden_dim=6, num_embeddings=10, embedding_dim=5, decoder_hidden_dim=6,
        decoder_kernel_size=3, decoder_stride=2, decoder_n_layers=2), (2, 3, 8, 8, 8), (2, 2, 2))
    tiny = dict(encoder_hidden_dim=4, n_res_layers=1, attn_hidden_dim=4, num_embeddings=10, embedding_dim=6,
                decoder_hidden_dim=4)
    every_method("video_vqvae_mugen", "video_vqvae_mugen", dict(tiny, in_channel_dim=1), (1, 1, 8, 64, 32), (2, 2, 1),
                 train_vjp=False, scale=0.2)  # batch statistics of four values: gradients there are mostly rounding
    case("video_vqvae_mugen-rgb", "video_vqvae_mugen", tiny, lambda: dict(x=torch.randn(1, 3, 4, 32, 32)),
         prepare=spread_codes, scale=0.2)
