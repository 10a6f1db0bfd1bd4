import Checkpoints
import Foundation
import Models
import NeuralNets
import Tensors

/// Trains a VQVAE on clips or images: reconstruction plus commitment (van den Oord et al. 2017, arXiv:1711.00937).
public final class VQVAETask: TrainingTask {
    /// What the loss is made of.
    public struct Loss: Sendable, Equatable {
        /// The weight of the mean squared error of pixels.
        public var squared = 1.0
        /// The weight of their mean absolute error.
        public var absolute = 0.0
        /// How much more a badly drawn pixel counts in the squared error: by its error to this power, over the batch's mean.
        public var focus = 0.0
        /// The weight of the distance between encoder outputs and their codes.
        public var commitment = 0.25

        /// The usual weights.
        public init(squared: Double = 1, absolute: Double = 0, focus: Double = 0, commitment: Double = 0.25) {
            self.squared = squared
            self.absolute = absolute
            self.focus = focus
            self.commitment = commitment
        }
    }

    private let model: VQVAE
    private let training: any ClipSource
    private let validation: (any ClipSource)?
    private let range: ClosedRange<Double>
    private let weights: Loss
    private let decoderOnly: Bool
    private let output: ModelOutput

    /// A task.
    ///
    /// - Parameters:
    ///   - model: what is trained.
    ///   - training: the clips it learns from.
    ///   - validation: clips it is measured on.
    ///   - range: of the pixel values.
    ///   - weights: of the loss.
    ///   - decoderOnly: whether encoder and codebook stay as they are.
    ///   - output: writes pictures and the finished model.
    public init(
        _ model: VQVAE, training: any ClipSource, validation: (any ClipSource)?,
        range: ClosedRange<Double> = -0.5...0.5, weights: Loss = Loss(), decoderOnly: Bool = false, output: ModelOutput
    ) {
        self.model = model
        self.training = training
        self.validation = validation
        self.range = range
        self.weights = weights
        self.decoderOnly = decoderOnly
        self.output = output
        if decoderOnly {
            model.encoder.setTrainable(false)
            model.codebook.isFrozen = true
        }
    }

    public var module: Module { model }
    public var itemCount: Int { training.count }
    public var heldOutCount: Int { validation?.count ?? 0 }
    public var quality: Quality? { Quality("psnr", isSmallerBetter: false) }
    public var dataFingerprint: String { training.fingerprint }

    public var readerCount: Int { training.readerCount }

    public var reader: @Sendable ([TrainingItem]) throws -> Tensor {
        { [training, range, dimensions = model.dimensions] items in
            let clips = try items.map { try training.pixels($0.index, epoch: $0.epoch) }
            return try modelInput(clips, range: range, dimensions: dimensions)
        }
    }

    /// A clip as evaluation cuts it.
    private func clip(_ source: any ClipSource, _ index: Int) throws -> Tensor {
        try modelInput([source.pixels(index, epoch: nil)], range: range, dimensions: model.dimensions)
    }

    /// The peak signal-to-noise ratio in dB of a mean squared error, with white minus black as the peak.
    private func peakSignalToNoise(_ error: Double) -> Double {
        let peak = range.upperBound - range.lowerBound
        return 10 * log10(peak * peak / max(error, 1e-12))
    }

    public func loss(
        _ items: [TrainingItem], data x: Tensor, key: RandomKey, _ context: ForwardContext
    ) throws -> (Tensor, Metrics) {
        let (decoded, codes) = reconstruct(x, context)
        let squared = meanSquaredError(decoded, x)
        let commitment = commitmentLoss(quantized: codes.quantizedFlat, encoded: codes.encodedFlat)
        let drawn = weights.focus > 0 ? focusedSquaredError(decoded, x, focus: weights.focus) : squared
        var total = drawn * weights.squared + commitment * weights.commitment
        if weights.absolute > 0 { total = total + meanAbsoluteError(decoded, x) * weights.absolute }
        let usage = CodebookUsage(
            ids: codes.codebookIndices.scalars(Int64.self).lazy.map(Int.init), codes: model.codebook.count)
        let error = Double(squared.detached.item(Float.self))
        return (
            total,
            [
                ("loss", Double(total.detached.item(Float.self))), ("reconstruction", error),
                ("commitment", Double(commitment.detached.item(Float.self))),
                ("psnr", peakSignalToNoise(error)), ("perplexity", usage.perplexity),
            ]
        )
    }

    private func reconstruct(_ x: Tensor, _ context: ForwardContext) -> (decoded: Tensor, codes: CodebookOutput) {
        guard decoderOnly else {
            let result = model(x, context)
            return (result.decoded, result.codebookOutput)
        }
        // As it is used: normalization goes by running statistics. In the decoder too: what a batch happens to hold would
        // shift how its rare codes are drawn.
        let codes = withoutGradients { model.codebook(model.encoder(x, .inference), .inference) }
        return (model.decoder(codes.quantized, .inference(precision: context.precision)), codes)
    }

    public func evaluate() throws -> Metrics {
        guard let validation, validation.count > 0 else { return [] }
        return try withoutGradients {
            var decibels = 0.0
            var ids: [Int] = []
            for index in 0..<validation.count {
                let x = try clip(validation, index)
                let result = model(x, .inference)
                let error = Double(meanSquaredError(result.decoded, x).item(Float.self))
                decibels += peakSignalToNoise(error)
                ids += result.codebookOutput.codebookIndices.scalars(Int64.self).map(Int.init)
            }
            let usage = CodebookUsage(ids: ids, codes: model.codebook.count)
            return [
                ("psnr", decibels / Double(validation.count)), ("perplexity", usage.perplexity),
                ("codes_used", usage.usedShare),
            ]
        }
    }

    public func writeSamples(to path: String, step: Int) throws -> [String] {
        let source = validation ?? training
        let shown = Array(0..<min(4, source.count))
        guard !shown.isEmpty else { return [] }
        return try withoutGradients {
            var rows: [Tensor] = []
            for index in shown {
                let x = try clip(source, index)
                rows.append(try modelPixels(x, range: range))
                rows.append(try modelPixels(model(x, .inference).decoded, range: range))
            }
            return try [output.writeGrid(rows, to: path + ".png")]
        }
    }

    public func writeModel(to path: String) throws { try output.writeModel(model, to: path) }
}
