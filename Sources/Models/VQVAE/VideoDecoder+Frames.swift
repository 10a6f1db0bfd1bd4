// Decoding a few frames at a time: behind the last attention, each layer holds a window of its result.

import NeuralNets
import Tensors

extension VideoDecoder {
    /// The size that the first axis of a decoded input of `size` positions has.
    public func outputLength(_ size: Int) -> Int { upsamplings.reduce(size) { $0 * $1.firstStride } }

    /// The transposed convolutions, without the rectifiers between them.
    private var upsamplings: [SamePadConvolutionTranspose] {
        convts.layers.compactMap { $0 as? SamePadConvolutionTranspose }
    }

    /// Decodes a range of frames a few at a time, with the bits of decoding the whole.
    ///
    /// Everything up to the last attention looks at all positions, and is computed once, at the latent size. Behind it a
    /// frame depends on a few neighbours only: each layer holds a window of its result, as many frames as the next one
    /// reads for the frames it makes, so the maps at full size never exist all at once and nothing is computed twice.
    ///
    /// - Parameters:
    ///   - x: `[batch, input dimension, d1', ..., dn']`.
    ///   - frames: positions of the result's first axis (time, for video); all of them when `nil`.
    ///   - slab: the most frames that are handed over at a time.
    ///   - body: takes frames in order, `[batch, channels, frames, ...]`, and where they stand.
    /// - Precondition: `slab` is positive, and `frames` are frames of the result.
    public func decode(
        _ x: Tensor, frames: Range<Int>? = nil, slab: Int, each body: (Range<Int>, Tensor) throws -> Void
    ) rethrows {
        let length = outputLength(x.shape[2])
        let frames = frames ?? 0..<length
        precondition(
            slab > 0 && frames.lowerBound >= 0 && frames.upperBound <= length,
            "VideoDecoder: slabs of \(slab) of the frames \(frames) of \(length) make no sense")
        guard !frames.isEmpty else { return }
        try withoutGradients {
            let latents = resStack(convIn(x, .inference), .inference)
            let windows = DecodingWindows(upsamplings, latents: latents, frames: frames, slab: slab)
            for first in stride(from: frames.lowerBound, to: frames.upperBound, by: slab) {
                let range = first..<min(first + slab, frames.upperBound)
                try body(range, windows.maps(range))
            }
        }
    }

    /// How many frames to hand over at a time, in whole latent frames: about as many as take `bytes`.
    ///
    /// - Parameter latent: the latent size, `[d1', ..., dn']`.
    public func slab(forLatent latent: [Int], bytes: Int = 4 << 20) -> Int {
        let plane = upsamplings.reduce(latent) { $1.outputSize($0) }.dropFirst().reduce(1, *)
        let frame = plane * (configuration.outputChannels.last ?? 1) * MemoryLayout<Float>.stride
        let step = outputLength(1)
        return max(1, bytes / max(frame, 1) / step) * step
    }
}

/// The windows on what each transposed convolution makes, filled as far as the next one reads.
private final class DecodingWindows {
    private struct Stage {
        let layer: SamePadConvolutionTranspose
        let activation: Activation
        /// The number of input positions, and the size of the input's other axes.
        let size: Int
        let rest: [Int]
        /// What is made of the result.
        let frames: Range<Int>
        /// How many frames are made at a time.
        let step: Int
        let window: MapWindow
    }
    private var stages: [Stage] = []
    private let latents: MapWindow

    /// - Parameters:
    ///   - layers: one after the other, with rectifiers between.
    ///   - latents: `[batch, channels, d1', ..., dn']`.
    ///   - frames: the frames that will be asked for, in order.
    ///   - slab: the most that are asked for at a time.
    init(_ layers: [SamePadConvolutionTranspose], latents: Tensor, frames: Range<Int>, slab: Int) {
        self.latents = MapWindow(latents)
        var inputs = [Array(latents.shape[2...])]
        for layer in layers { inputs.append(layer.outputSize(inputs[inputs.count - 1])) }
        // The groups of the largest map and of those behind it are made one by one, of the smaller ones before it as many
        // as have half its size at most: every call packs the weights anew.
        let groups = layers.indices.map { index in
            let layer = layers[index]
            return min(layer.group, inputs[index + 1][0]) * layer.outputs * inputs[index + 1][1...].reduce(1, *)
        }
        let largest = groups.max() ?? 0
        let last = groups.firstIndex(of: largest) ?? 0
        // Backwards: what is wanted of each layer, and the most of it that is read at a time.
        var (wanted, read) = (frames, min(slab, frames.count))
        for index in layers.indices.reversed() {
            let (layer, size) = (layers[index], inputs[index][0])
            let whole = layer.wholeGroups(wanted, of: size)
            let step = (index < last ? max(1, largest / 2 / max(groups[index], 1)) : 1) * layer.group
            let window = MapWindow(
                batch: latents.shape[0], channels: layer.outputs, room: min(read - 1 + step, whole.count),
                rest: Array(inputs[index + 1][1...]), dtype: latents.dtype, start: whole.lowerBound)
            stages.append(
                Stage(
                    layer: layer, activation: index == layers.count - 1 ? .identity : .relu, size: size,
                    rest: Array(inputs[index][1...]), frames: whole, step: step, window: window))
            wanted = layer.inputs(for: whole, of: size)
            let reads = stride(from: whole.lowerBound, to: whole.upperBound, by: step).map { first in
                layer.inputs(for: first..<min(first + step, whole.upperBound), of: size).count
            }
            read = reads.max() ?? 1
        }
        stages.reverse()
    }

    /// The next frames.
    func maps(_ range: Range<Int>) -> Tensor { filled(stages.count, to: range).maps(range) }

    /// The window on a layer's result, or on the latents for 0, with a range in it; what lies before is dropped.
    private func filled(_ count: Int, to range: Range<Int>) -> MapWindow {
        guard count > 0 else { return latents }
        let stage = stages[count - 1]
        let window = stage.window
        window.drop(before: min(range.lowerBound, window.range.upperBound))
        while window.range.upperBound < range.upperBound {
            let first = window.range.upperBound
            let next = first..<min(first + stage.step, stage.frames.upperBound)
            let source = filled(count - 1, to: stage.layer.inputs(for: next, of: stage.size))
            stage.layer.append(
                next, to: window, from: source, in: stage.size, rest: stage.rest, activation: stage.activation)
            window.drop(before: min(range.lowerBound, window.range.upperBound))
        }
        return window
    }
}
