// The published shapes of the multimodal GPT: `video_gpt` (video after video), `text_video_gpt` (MUGEN's video after text)
// and their image counterpart `text_image_gpt`, by the argument names of TorchMultimodal's builders.

import Checkpoints
import JSON
import NeuralNets
import Tensors

/// Builders of the multimodal GPT.
public enum VideoGPT {
    /// `models.video_gpt.model.video_gpt`: continues video with video.
    ///
    /// Beside the peer's arguments, `video_vqvae` gives the arguments of both tokenizers.
    /// - Throws: ``ModelError`` with code `.invalidConfiguration`.
    public static func videoGPT(_ fields: JSONFields, random: RandomKey) throws -> MultimodalGPT {
        try fields.rejectUnknown(known: [
            "input_shape", "latent_shape", "d_model", "n_head", "dropout", "attn_dropout", "num_decoder_layers",
            "use_gpt_init", "video_vqvae",
        ])
        let decoder = try decoderConfiguration(fields, width: 576, heads: 4, layers: 16, positionAxes: 3)
        let input = try fields.optionalIntegers("input_shape") ?? [16, 64, 64]
        guard input.allSatisfy((1...4096).contains) else {
            throw fields.mismatch("input_shape", mustBe: "sizes between 1 and 4096")
        }
        let latent = try fields.optionalIntegers("latent_shape") ?? [8, 32, 32]
        let vqvae = try fields.optionalFields("video_vqvae") ?? JSONFields(JSONObject(), source: fields.source)
        let inputVQVAE = try ModelRegistry.vqvae(vqvae, default: "video_vqvae", random: random.derived("in_tokenizer"))
        let outputVQVAE = try ModelRegistry.vqvae(
            vqvae, default: "video_vqvae", random: random.derived("out_tokenizer"))
        guard input.count == outputVQVAE.dimensions, outputVQVAE.latentShape(input) == latent else {
            throw ModelError(
                .invalidConfiguration,
                "'latent_shape' \(latent) is not what the VQVAE makes of 'input_shape' \(input)"
                    + (input.count == outputVQVAE.dimensions ? ": \(outputVQVAE.latentShape(input))." : "."))
        }
        inputVQVAE.setTrainable(false)
        inputVQVAE.codebook.isFrozen = true
        func projection(_ vqvae: VQVAE, _ name: String) -> Linear {
            Linear(vqvae.codebook.width, decoder.width, bias: false, key: random.derived(name))
        }
        return MultimodalGPT(
            width: decoder.width, latentShape: latent, inputTokens: inputVQVAE, outputTokens: outputVQVAE,
            decoder: joined(
                BroadcastedPositionEmbedding(shape: latent, width: decoder.width, random: random.derived("in_pos")),
                latent, decoder, random),
            inputProjection: projection(inputVQVAE, "in"), outputProjection: projection(outputVQVAE, "out"),
            projectionDeviation: try projectionDeviation(fields, 0.02), random: random.derived("gpt"))
    }

    /// MUGEN's `text_video_gpt`: video after text.
    ///
    /// Beside the peer's arguments, `video_vqvae` gives the tokenizer's (its `model` names another builder than
    /// `video_vqvae_mugen`), `text_vocab_size` the size of the text vocabulary (1024), and `position_init_deviation` and
    /// `projection_init_deviation` the spread of the first values of video positions (0.01) and of the projection of
    /// codes (0.02).
    public static func textVideoGPT(_ fields: JSONFields, random: RandomKey) throws -> MultimodalGPT {
        try fields.rejectUnknown(known: [
            "text_seq_len", "video_seq_len", "resolution", "downsample", "d_model", "n_head", "dropout", "attn_dropout",
            "num_decoder_layers", "use_gpt_init", "video_vqvae", "text_vocab_size", "position_init_deviation",
            "projection_init_deviation",
        ])
        let frames = try fields.integer("video_seq_len", in: 1...4096, default: 32)
        let resolution = try fields.integer("resolution", in: 1...4096, default: 256)
        let vqvae = try ModelRegistry.vqvae(
            fields.optionalFields("video_vqvae") ?? JSONFields(JSONObject(), source: fields.source),
            default: "video_vqvae_mugen", random: random.derived("out_tokenizer"))
        let size = [frames, resolution, resolution]
        if let downsample = try fields.optionalIntegers("downsample") {
            let stated = downsample.count == 3 ? zip(size, downsample).map { $0 / max($1, 1) } : []
            guard vqvae.dimensions == 3, stated == vqvae.latentShape(size) else {
                throw ModelError(
                    .invalidConfiguration,
                    "'downsample' \(downsample) does not agree with the video VQVAE, which makes a grid of "
                        + "\(vqvae.latentShape(size)) from \(size).")
            }
        }
        return try textGPT(fields, vqvae: vqvae, size: size, random: random)
    }

    /// An image after text, built from the same parts.
    ///
    /// Arguments: `text_seq_len`, `text_vocab_size`, `resolution`, the decoder's, and `image_vqvae`.
    public static func textImageGPT(_ fields: JSONFields, random: RandomKey) throws -> MultimodalGPT {
        try fields.rejectUnknown(known: [
            "text_seq_len", "resolution", "d_model", "n_head", "dropout", "attn_dropout", "num_decoder_layers",
            "use_gpt_init", "image_vqvae", "text_vocab_size", "position_init_deviation", "projection_init_deviation",
        ])
        let resolution = try fields.integer("resolution", in: 1...4096, default: 64)
        let vqvae = try ModelRegistry.vqvae(
            fields.optionalFields("image_vqvae") ?? JSONFields(JSONObject(), source: fields.source),
            default: "image_vqvae", random: random.derived("out_tokenizer"))
        return try textGPT(fields, vqvae: vqvae, size: [resolution, resolution], random: random)
    }

    private static func textGPT(
        _ fields: JSONFields, vqvae: VQVAE, size: [Int], random: RandomKey
    ) throws -> MultimodalGPT {
        guard vqvae.dimensions == size.count else {
            throw ModelError(
                .invalidConfiguration,
                "The VQVAE works on \(vqvae.dimensions) axes where this model has \(size.count).")
        }
        let textLength = try fields.integer("text_seq_len", in: 1...65536, default: 128)
        let vocabulary = try fields.integer("text_vocab_size", in: 1...(1 << 24), default: 1024)
        let latent = vqvae.latentShape(size)
        let decoder = try decoderConfiguration(fields, width: 768, heads: 8, layers: 12, positionAxes: latent.count)
        let text = TextTokenTable(vocabulary + textLength, decoder.width, random: random.derived("in_tokenizer"))
        let positions = Embedding(textLength, decoder.width, key: random.derived("in_pos"))
        func deviation(_ key: String, _ fallback: Double) throws -> Double {
            let value = try fields.double(key, default: fallback)
            guard (0...100).contains(value) else { throw fields.mismatch(key, mustBe: "between 0 and 100") }
            return value
        }
        return MultimodalGPT(
            width: decoder.width, latentShape: latent, inputTokens: text, outputTokens: vqvae,
            decoder: joined(
                positions, latent, decoder, random,
                positionDeviation: try deviation("position_init_deviation", 0.01)),
            inputProjection: nil,
            outputProjection: Linear(vqvae.codebook.width, decoder.width, bias: false, key: random.derived("out")),
            projectionDeviation: try projectionDeviation(fields, deviation("projection_init_deviation", 0.02)),
            random: random.derived("gpt"))
    }

    private static func joined(
        _ inputPositions: any PositionEmbedding, _ latent: [Int], _ configuration: TransformerDecoderConfiguration,
        _ random: RandomKey, positionDeviation: Double = 0.01
    ) -> MultimodalTransformerDecoder {
        MultimodalTransformerDecoder(
            inputPositions: inputPositions,
            outputPositions: BroadcastedPositionEmbedding(
                shape: latent, width: configuration.width, deviation: positionDeviation,
                random: random.derived("out_pos")),
            decoder: TransformerDecoder(configuration, random: random.derived("decoder")),
            rightShift: RightShift(configuration.width, random: random.derived("right_shift")))
    }

    /// The spread of the projections' first values; `nil`, PyTorch's default, when `use_gpt_init` is false.
    private static func projectionDeviation(_ fields: JSONFields, _ deviation: Double) throws -> Double? {
        try fields.bool("use_gpt_init", default: true) ? deviation : nil
    }

    private static func decoderConfiguration(
        _ fields: JSONFields, width: Int, heads: Int, layers: Int, positionAxes: Int
    ) throws -> TransformerDecoderConfiguration {
        let width = try fields.integer("d_model", in: 1...65536, default: width)
        let heads = try fields.integer("n_head", in: 1...1024, default: heads)
        for (divisor, meaning) in [(heads, "'n_head'"), (positionAxes, "the number of latent axes")]
        where width % divisor != 0 {
            throw ModelError(.invalidConfiguration, "'d_model' must divide by \(meaning), \(divisor); found \(width).")
        }
        func share(_ key: String, _ fallback: Double) throws -> Double {
            let value = try fields.double(key, default: fallback)
            guard (0..<1).contains(value) else { throw fields.mismatch(key, mustBe: "at least 0 and less than 1") }
            return value
        }
        return TransformerDecoderConfiguration(
            width: width, heads: heads,
            layers: try fields.integer("num_decoder_layers", in: 1...1024, default: layers),
            dropout: try share("dropout", 0.2), attentionDropout: try share("attn_dropout", 0.3))
    }
}
