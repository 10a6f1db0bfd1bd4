import Models

/// Counts operations of a VQVAE from its configuration.
public struct VQVAEWork: Sendable {
    private let configuration: VQVAEConfiguration

    /// Counts for a configuration.
    public init(_ configuration: VQVAEConfiguration) { self.configuration = configuration }

    /// Frames to codes, the search for the nearest code included.
    ///
    /// - Parameter size: of one clip, without batch and channels.
    public func encoding(_ size: [Int]) -> Work {
        let shape = configuration.encoder
        let outputs = shape.inputChannels.dropFirst() + [shape.hiddenDimension]
        var (size, products) = (size, 0.0)
        for (index, width) in outputs.enumerated() {
            size = zip(size, shape.strides[index]).map { ($0 + $1 - 1) / $1 }
            products += count(size) * Double(shape.inputChannels[index] * width) * count(shape.kernels[index])
        }
        products += Double(shape.residualLayers) * residualBlock(size, shape.hiddenDimension)
        products += count(size) * Double(shape.hiddenDimension * shape.outputDimension)
        products += count(size) * Double(configuration.embeddingDimension * configuration.codeCount)
        return Work(operations: 2 * products)
    }

    /// Codes to frames.
    ///
    /// - Parameter latent: the grid of one clip's codes.
    public func decoding(_ latent: [Int]) -> Work {
        let shape = configuration.decoder
        var (size, channels) = (latent, shape.hiddenDimension)
        var products = count(size) * Double(shape.inputDimension * channels)
        products += Double(shape.residualLayers) * residualBlock(size, channels)
        for (index, width) in shape.outputChannels.enumerated() {
            // Every position of the input meets every tap of the window.
            products += count(size) * Double(channels * width) * count(shape.kernels[index])
            size = zip(size, shape.strides[index]).map { $0 * $1 }
            channels = width
        }
        return Work(operations: 2 * products)
    }

    /// A training step: forward, and twice as much backward.
    ///
    /// - Parameters:
    ///   - size: of one clip, without batch and channels.
    ///   - latent: the grid of its codes.
    ///   - batch: clips.
    public func training(_ size: [Int], latent: [Int], batch: Int) -> Work {
        Work(operations: 3 * Double(batch) * (encoding(size).operations + decoding(latent).operations))
    }

    /// Multiplications of a residual block: a convolution of three taps per axis to half the width, one of one tap back,
    /// and attention along each axis.
    private func residualBlock(_ size: [Int], _ width: Int) -> Double {
        let taps = size.reduce(1.0) { taps, _ in taps * 3 }
        let convolutions = Double(width * (width / 2)) * (taps + 1)
        let attention = size.reduce(0.0) { $0 + 4 * Double(width * width) + 2 * Double(width * $1) }
        return count(size) * (convolutions + attention)
    }

    private func count(_ size: [Int]) -> Double { size.reduce(1.0) { $0 * Double($1) } }
}
