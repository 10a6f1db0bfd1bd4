import NeuralNets
import Tensors

/// Transposed convolutions and their rectifiers over the first axis of a latent map, a range at a time and forwards only:
/// every output of every layer is computed once, and kept while ranges to come depend on it.
struct DecoderStream {
    /// A transposed convolution with what stands between it and the next.
    private struct Stage {
        let convolution: SamePadConvolutionTranspose
        var pointwise: [any Layer] = []
        /// The input's whole length.
        let size: Int
        /// The outputs that are kept, and which they are; empty before the first range.
        var kept: (places: Range<Int>, values: Tensor?)?
    }

    private let latents: Tensor
    private var stages: [Stage] = []

    /// - Parameters:
    ///   - layers: transposed convolutions, each with any number of pointwise layers behind it.
    ///   - latents: `[batch, channels, d1', ..., dn']`.
    init(_ layers: Sequential, latents: Tensor) {
        self.latents = latents
        var size = latents.shape[2]
        for layer in layers.layers {
            if let convolution = layer as? SamePadConvolutionTranspose {
                stages.append(Stage(convolution: convolution, size: size))
                size *= convolution.firstStride
            } else {
                precondition(!stages.isEmpty, "DecoderStream: the first layer must be a transposed convolution")
                stages[stages.count - 1].pointwise.append(layer)
            }
        }
    }

    /// A range of the last layer's outputs, `[batch, channels, range.count, ...]`, with the bits that they have in the whole.
    ///
    /// - Precondition: ranges come in order.
    mutating func frames(_ range: Range<Int>) -> Tensor {
        let (places, values) = outputs(range, of: stages.count - 1)
        return values.sliced(2, (range.lowerBound - places.lowerBound)..<(range.upperBound - places.lowerBound))
    }

    /// At least a range of a layer's outputs: the whole that is kept, since a part of it would have to be copied.
    private mutating func outputs(_ range: Range<Int>, of index: Int) -> (places: Range<Int>, values: Tensor) {
        guard index >= 0 else { return (0..<latents.shape[2], latents) }
        var (places, values) = stages[index].kept ?? (range.lowerBound..<range.lowerBound, nil)
        precondition(places.lowerBound <= range.lowerBound, "DecoderStream: \(range) begins before \(places)")
        if places.upperBound <= range.lowerBound { (places, values) = (range.lowerBound..<range.lowerBound, nil) }
        if range.upperBound <= places.upperBound, let values { return (places, values) }
        let passed = range.lowerBound - places.lowerBound
        // A copy of what is still needed, so that the rest can go before more is made.
        let known = values.map { $0.sliced(2, passed..<places.count).contiguous() }
        (values, stages[index].kept) = (nil, nil)
        let (convolution, size) = (stages[index].convolution, stages[index].size)
        // Up to the end of what the kernels compute together, or its last group would be computed twice.
        let made = places.upperBound..<convolution.wholeGroups(range, of: size).upperBound
        let (standing, x) = outputs(convolution.inputs(for: made, of: size), of: index - 1)
        var result = convolution.part(made, of: x, standing: standing, in: size)
        for layer in stages[index].pointwise { result = layer(result, .inference) }
        if let known { result = concatenated([known, result], axis: 2) }
        stages[index].kept = (range.lowerBound..<made.upperBound, result)
        return (range.lowerBound..<made.upperBound, result)
    }
}
