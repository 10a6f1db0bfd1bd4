// The example of a late fusion: pictures by a stack of convolutions, text by an LSTM, after TorchMultimodal's
// examples/cnn_lstm.

import Checkpoints
import NeuralNets
import Tensors

/// Convolutions, each with a leaky rectifier, halved by maximum and normalized, and all flattened, keys `cnn.#.0` and
/// `cnn.#.3`.
public final class CNNEncoder: Module, Layer {
    private let stages: [(convolution: Convolution, normalization: BatchNorm)]

    /// An encoder.
    ///
    /// - Parameters:
    ///   - inputs: the channels that each stage reads.
    ///   - outputs: the channels that each makes, which the next one reads.
    ///   - kernels: the side of each stage's window.
    ///   - random: where the first values come from.
    public init(inputs: [Int], outputs: [Int], kernels: [Int], random: RandomKey) {
        precondition(
            inputs.count == outputs.count && outputs.count == kernels.count && inputs.dropFirst() == outputs.dropLast(),
            "CNNEncoder: stages of \(inputs), \(outputs) and \(kernels) do not fit")
        stages = inputs.indices.map { index in
            let convolution = Convolution(
                inputs[index], outputs[index], square: kernels[index], padding: kernels[index] / 2,
                key: random.derived("stage", index))
            return (convolution, BatchNorm(outputs[index]))
        }
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        stages.enumerated().flatMap { index, stage in
            [("cnn.\(index).0", stage.convolution), ("cnn.\(index).3", stage.normalization)]
                as [(key: String, part: Any)]
        }
    }

    /// The channels of images.
    public var inputs: Int { stages.first?.convolution.weight.shape[1] ?? 0 }

    /// The size that images of a height and width become, `nil` where nothing is left of them.
    public func width(height: Int, width: Int) -> Int? {
        var sides = [height, width]
        for stage in stages {
            // A window of even size makes one more.
            sides = sides.map { ($0 + (stage.convolution.geometry.kernel[0] % 2 == 0 ? 1 : 0)) / 2 }
        }
        let outputs = stages.last?.convolution.weight.shape[0] ?? 0
        return sides.allSatisfy { $0 > 0 } ? outputs * sides[0] * sides[1] : nil
    }

    /// `[batch, channels, height, width]` to `[batch, features]`.
    public func callAsFunction(_ x: Tensor, _ context: ForwardContext) -> Tensor {
        stages.reduce(x) { x, stage in
            let map = stage.convolution(x, context)
            let halved = Tensor.maximum(map, map * 0.01).maxPooled(Self.halving)
            return stage.normalization(halved, context)
        }.flattened(1)
    }

    private static let halving = ConvolutionGeometry(kernel: [2, 2], stride: [2, 2])
}

extension LateFusion {
    /// A classifier of pictures with their text from the factory's keyword arguments.
    static func cnnLSTM(_ fields: JSONFields, random: RandomKey) throws -> LateFusion {
        try fields.accept(
            "text_vocab_size", "text_embedding_dim", "lstm_input_size", "lstm_hidden_dim", "lstm_bidirectional",
            "lstm_batch_first", "cnn_input_dims", "cnn_output_dims", "cnn_kernel_sizes", "classifier_in_dim",
            "num_classes")
        let image = try CNNEncoder.read(
            fields, keys: ("cnn_input_dims", "cnn_output_dims", "cnn_kernel_sizes"),
            defaults: ([3, 64, 128, 128, 64, 64], [64, 128, 128, 64, 64, 10], [7, 5, 5, 5, 5, 1]),
            random: random.derived("image"))
        let text = try LSTMEncoder.read(
            fields,
            keys: (
                "text_vocab_size", "text_embedding_dim", "lstm_input_size", "lstm_hidden_dim", "lstm_bidirectional",
                "lstm_batch_first"
            ), defaults: (20, 20, 50), random: random.derived("text"))
        let head = MLP(
            try fields.size("classifier_in_dim", default: 450), try fields.size("num_classes", default: 2),
            normalization: { BatchNorm($0) }, key: random.derived("head"))
        return LateFusion(encoders: ["image": image, "text": text], fusion: ConcatFusion(), head: head)
    }
}

extension CNNEncoder {
    /// An encoder from keyword arguments, with defaults where a factory has them.
    static func read(
        _ fields: JSONFields, keys: (inputs: String, outputs: String, kernels: String),
        defaults: (inputs: [Int], outputs: [Int], kernels: [Int])? = nil, random: RandomKey
    ) throws -> CNNEncoder {
        func sizes(_ key: String, _ fallback: [Int]?, _ range: ClosedRange<Int>) throws -> [Int] {
            if let fallback, !fields.has(key) { return fallback }
            let sizes = try fields.integers(key)
            guard !sizes.isEmpty, sizes.allSatisfy({ range.contains($0) }) else {
                throw fields.mismatch(key, mustBe: "sizes from \(range.lowerBound) to \(range.upperBound)")
            }
            return sizes
        }
        let inputs = try sizes(keys.inputs, defaults?.inputs, 1...(1 << 16))
        let outputs = try sizes(keys.outputs, defaults?.outputs, 1...(1 << 16))
        let kernels = try sizes(keys.kernels, defaults?.kernels, 1...64)
        guard inputs.count == outputs.count, outputs.count == kernels.count else {
            throw ModelError(
                .invalidInput,
                "'\(keys.inputs)', '\(keys.outputs)' and '\(keys.kernels)' should all have the same length, not "
                    + "\(inputs.count), \(outputs.count) and \(kernels.count).")
        }
        guard inputs.dropFirst() == outputs.dropLast() else {
            throw ModelError(
                .invalidInput, "'\(keys.outputs)' should match '\(keys.inputs)' offset by one, not \(outputs).")
        }
        return CNNEncoder(inputs: inputs, outputs: outputs, kernels: kernels, random: random)
    }
}

extension LSTMEncoder {
    /// Keyword arguments of an encoder by what they mean.
    typealias Keys = (
        vocabulary: String, embedding: String, inputs: String, width: String, bidirectional: String, batchFirst: String
    )

    /// An encoder from keyword arguments, with defaults where a factory has them.
    static func read(
        _ fields: JSONFields, keys: Keys, defaults: (embedding: Int, inputs: Int, width: Int)? = nil, random: RandomKey
    ) throws -> LSTMEncoder {
        let inputs = try fields.size(keys.inputs, default: defaults?.inputs)
        guard try fields.size(keys.embedding, default: defaults?.embedding) == inputs else {
            throw fields.mismatch(keys.embedding, mustBe: "'\(keys.inputs)', \(inputs)")
        }
        let isBoth =
            defaults == nil ? try fields.bool(keys.bidirectional) : try fields.bool(keys.bidirectional, default: true)
        guard isBoth else {
            throw fields.mismatch(keys.bidirectional, mustBe: "true: the last states of two directions are joined")
        }
        let batchFirst =
            defaults == nil ? try fields.bool(keys.batchFirst) : try fields.bool(keys.batchFirst, default: true)
        return LSTMEncoder(
            vocabulary: try fields.integer(keys.vocabulary, in: 1...(1 << 24)), inputs: inputs,
            width: try fields.size(keys.width, default: defaults?.width), batchFirst: batchFirst, random: random)
    }
}
