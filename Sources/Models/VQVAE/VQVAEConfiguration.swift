// The shapes a VQVAE can be asked for, by the argument names of TorchMultimodal's builders: both `video_vqvae`
// (models/video_gpt/model.py and models/video_gpt/video_vqvae.py), `video_vqvae_mugen`, and the image counterpart.

import Checkpoints
import NeuralNets

/// The shape of a VQVAE.
public struct VQVAEConfiguration: Sendable, Equatable {
    /// Pixels to latents.
    public var encoder: VideoEncoder.Configuration
    /// Latents to pixels.
    public var decoder: VideoDecoder.Configuration
    /// The number of codes.
    public var codeCount: Int
    /// The size of a code.
    public var embeddingDimension: Int
    /// A code whose running usage falls below restarts in training.
    public var usageThreshold = 1.0
    /// The decay of the codes' running means.
    public var codebookDecay = 0.99

    /// Joins an encoder, a codebook and a decoder.
    ///
    /// - Precondition: both halves meet at `embeddingDimension` and have as many axes.
    public init(
        encoder: VideoEncoder.Configuration, decoder: VideoDecoder.Configuration, codeCount: Int,
        embeddingDimension: Int
    ) {
        precondition(
            encoder.outputDimension == embeddingDimension && decoder.inputDimension == embeddingDimension
                && encoder.kernels[0].count == decoder.kernels[0].count,
            "VQVAEConfiguration: encoder and decoder do not meet at \(embeddingDimension) channels")
        self.encoder = encoder
        self.decoder = decoder
        self.codeCount = codeCount
        self.embeddingDimension = embeddingDimension
    }

    /// Reads the arguments of `models.video_gpt.model.video_vqvae`, or of `image_vqvae` with windows of two axes.
    ///
    /// - Throws: ``ModelError`` with code `.invalidConfiguration`, or the reader's error for a value of the wrong kind.
    public init(layered fields: JSONFields, dimensions: Int) throws {
        try fields.rejectUnknown(known: [
            "conv_filter_sizes", "conv_filter_strides", "encoder_filter_size", "encoder_filter_stride",
            "in_channel_dim",
            "encoder_hidden_dim", "n_res_layers", "attn_hidden_dim", "num_embeddings", "embedding_dim",
            "decoder_hidden_dim", "codebook_usage_threshold", "codebook_decay",
        ])
        let all = { (value: Int) in [Int](repeating: value, count: dimensions) }
        let kernels = try windows(fields, "conv_filter_sizes", dimensions) ?? [all(4)]
        let strides = try windows(fields, "conv_filter_strides", dimensions) ?? [all(2)]
        let lastKernel = try window(fields, "encoder_filter_size", dimensions) ?? all(3)
        let lastStride = try window(fields, "encoder_filter_stride", dimensions) ?? all(1)
        guard kernels.count == strides.count else {
            throw ModelError(
                .invalidConfiguration,
                "'conv_filter_sizes' has \(kernels.count) entries and 'conv_filter_strides' \(strides.count); they must be as many."
            )
        }
        try self.init(
            fields, encoderKernels: kernels + [lastKernel], encoderStrides: strides + [lastStride],
            decoderKernels: kernels, decoderStrides: strides, defaults: (3, 240, 4, 240, 1024, 256, 240))
    }

    /// Reads the arguments of `models.video_gpt.video_vqvae.video_vqvae`.
    public init(uniform fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "in_channel_dim", "encoder_hidden_dim", "encoder_kernel_size", "encoder_stride", "encoder_n_layers",
            "n_res_layers", "attn_hidden_dim", "num_embeddings", "embedding_dim", "decoder_hidden_dim",
            "decoder_kernel_size", "decoder_stride", "decoder_n_layers", "codebook_usage_threshold", "codebook_decay",
        ])
        func repeated(_ key: String, _ countKey: String) throws -> [[Int]] {
            let count = try fields.integer(countKey, in: 1...16)
            let size = fields.object[key]?.integerValue
            if let size, !(1...64).contains(size) {
                throw fields.mismatch(key, mustBe: "a list of 3 sizes between 1 and 64")
            }
            let three = size.map { [$0, $0, $0] }
            return [[Int]](repeating: try three ?? window(fields, key, 3) ?? [1, 1, 1], count: count)
        }
        try self.init(
            fields, encoderKernels: repeated("encoder_kernel_size", "encoder_n_layers"),
            encoderStrides: repeated("encoder_stride", "encoder_n_layers"),
            decoderKernels: repeated("decoder_kernel_size", "decoder_n_layers"),
            decoderStrides: repeated("decoder_stride", "decoder_n_layers"), defaults: (3, 240, 4, 240, 1024, 256, 240))
    }

    /// Reads the arguments of MUGEN's `video_vqvae_mugen`.
    public init(mugen fields: JSONFields) throws {
        try fields.rejectUnknown(known: [
            "in_channel_dim", "encoder_hidden_dim", "kernel_size", "n_res_layers", "attn_hidden_dim", "num_embeddings",
            "embedding_dim", "decoder_hidden_dim", "pretrained_model_key", "freeze_model", "codebook_usage_threshold",
            "codebook_decay",
        ])
        if fields.has("pretrained_model_key") {
            throw ModelError(
                .invalidConfiguration,
                "'pretrained_model_key' names a download; fetch the file yourself and give it as weights instead.")
        }
        let size = try fields.integer("kernel_size", in: 1...16, default: 3)
        let strides = [[2, 2, 2], [2, 2, 2], [1, 2, 2], [1, 2, 2], [1, 2, 2]]
        let kernels = strides.map { _ in [size, size, size] }
        try self.init(
            fields, encoderKernels: kernels + [[size, size, size]], encoderStrides: strides + [[1, 1, 1]],
            decoderKernels: kernels, decoderStrides: strides, defaults: (3, 240, 4, 240, 2048, 256, 240))
    }

    private typealias Defaults = (
        channels: Int, encoder: Int, layers: Int, attention: Int, codes: Int, embedding: Int, decoder: Int
    )

    private init(
        _ fields: JSONFields, encoderKernels: [[Int]], encoderStrides: [[Int]], decoderKernels: [[Int]],
        decoderStrides: [[Int]], defaults: Defaults
    ) throws {
        let channels = try fields.integer("in_channel_dim", in: 1...1024, default: defaults.channels)
        let encoderHidden = try fields.integer("encoder_hidden_dim", in: 1...16384, default: defaults.encoder)
        let decoderHidden = try fields.integer("decoder_hidden_dim", in: 1...16384, default: defaults.decoder)
        let layers = try fields.integer("n_res_layers", in: 0...256, default: defaults.layers)
        let attention = try fields.integer("attn_hidden_dim", in: 2...16384, default: defaults.attention)
        guard attention % 2 == 0 else {
            throw ModelError(
                .invalidConfiguration,
                "'attn_hidden_dim' must divide by the 2 heads of the attention, found \(attention).")
        }
        codeCount = try fields.integer("num_embeddings", in: 1...(1 << 24), default: defaults.codes)
        embeddingDimension = try fields.integer("embedding_dim", in: 1...65536, default: defaults.embedding)
        usageThreshold = try fields.double("codebook_usage_threshold", default: 1)
        codebookDecay = try fields.double("codebook_decay", default: 0.99)
        guard (0...1).contains(codebookDecay) else {
            throw fields.mismatch("codebook_decay", mustBe: "between 0 and 1")
        }
        encoder = VideoEncoder.Configuration(
            inputChannels: [channels] + [Int](repeating: encoderHidden, count: encoderKernels.count - 1),
            kernels: encoderKernels, strides: encoderStrides, outputDimension: embeddingDimension,
            residualLayers: layers, hiddenDimension: attention)
        decoder = VideoDecoder.Configuration(
            outputChannels: [Int](repeating: decoderHidden, count: decoderKernels.count - 1) + [channels],
            kernels: decoderKernels, strides: decoderStrides, inputDimension: embeddingDimension,
            residualLayers: layers, hiddenDimension: attention)
    }
}

/// A list of windows, one per layer, each with as many sizes as there are axes.
func windows(_ fields: JSONFields, _ key: String, _ dimensions: Int) throws -> [[Int]]? {
    guard fields.has(key) else { return nil }
    let rows = (fields.object[key]?.arrayValue ?? []).compactMap { $0.arrayValue?.compactMap(\.integerValue) }
    guard !rows.isEmpty, rows.count == fields.object[key]?.arrayValue?.count,
        rows.allSatisfy({ $0.count == dimensions && $0.allSatisfy { (1...64).contains($0) } })
    else { throw fields.mismatch(key, mustBe: "a list of lists of \(dimensions) sizes between 1 and 64") }
    return rows
}

/// One window.
private func window(_ fields: JSONFields, _ key: String, _ dimensions: Int) throws -> [Int]? {
    guard fields.has(key) else { return nil }
    let sizes = try fields.integers(key)
    guard sizes.count == dimensions, sizes.allSatisfy({ (1...64).contains($0) }) else {
        throw fields.mismatch(key, mustBe: "a list of \(dimensions) sizes between 1 and 64")
    }
    return sizes
}
