// Lower bounds of the memory that models take for their work, so that what can never fit is refused before it is begun.
// They count maps that certainly exist at one time, as numbers of four bytes, or of two where training keeps operands so; the
// truth is a few times as much.

import NeuralNets
import Tensors

/// The number of elements of a shape, as a `Double`, which cannot overflow.
private func elements(_ size: [Int]) -> Double { size.reduce(1.0) { $0 * Double($1) } }

/// Bytes of a `float32`.
private let floatBytes = 4.0

extension VQVAE {
    /// The maps of the encoder's convolutions, in elements: what goes into each and, last, what the blocks work on.
    private func encoderMaps(_ size: [Int]) -> [Double] {
        let shape = configuration.encoder
        var (current, maps) = (size, [Double]())
        for (channels, stride) in zip(shape.inputChannels, shape.strides) {
            maps.append(Double(channels) * elements(current))
            current = zip(current, stride).map { ($0 + $1 - 1) / $1 }
        }
        return maps + [Double(shape.hiddenDimension) * elements(current)]
    }

    /// The maps of the decoder's convolutions: what the blocks work on, then what each convolution gives.
    private func decoderMaps(_ latent: [Int]) -> [Double] {
        let shape = configuration.decoder
        var (current, maps) = (latent, [Double(shape.hiddenDimension) * elements(latent)])
        for (channels, stride) in zip(shape.outputChannels, shape.strides) {
            current = zip(current, stride).map { $0 * $1 }
            maps.append(Double(channels) * elements(current))
        }
        return maps
    }

    /// Bytes that encoding takes at least.
    ///
    /// - Parameters:
    ///   - clips: how many are encoded together.
    ///   - size: of a clip, `[d1, ..., dn]`.
    public func encodingBytes(clips: Int = 1, size: [Int]) -> Double {
        let maps = encoderMaps(size)
        return floatBytes * Double(clips) * (zip(maps, maps.dropFirst()).map { $0 + $1 }.max() ?? 0)
    }

    /// Bytes that decoding takes at least.
    ///
    /// - Parameters:
    ///   - clips: how many are decoded together.
    ///   - latent: the grid of a clip's ids, `[d1', ..., dn']`.
    ///   - inSlabs: whether a video is decoded a few frames at a time.
    public func decodingBytes(clips: Int = 1, latent: [Int], inSlabs: Bool = true) -> Double {
        // What the blocks work on exists for the whole clip, beside what one of them makes of it.
        let blocks = 2 * Double(configuration.decoder.hiddenDimension) * elements(latent)
        var part = latent
        if inSlabs, dimensions > 2, !part.isEmpty { part[0] = 1 }
        let maps = decoderMaps(part)
        let largest = zip(maps, maps.dropFirst()).map { $0 + $1 }.max() ?? 0
        return floatBytes * Double(clips) * max(blocks, largest)
    }

    /// Bytes that a pass of training takes at least, beside the parameters.
    ///
    /// - Parameters:
    ///   - clips: how many a pass is over.
    ///   - size: of a clip, `[d1, ..., dn]`.
    ///   - checkpointsActivations: whether the insides of residual blocks are computed twice instead of kept.
    ///   - precision: what operands of products are kept as.
    public func trainingBytes(
        clips: Int, size: [Int], checkpointsActivations: Bool, precision: ProductPrecision = .float32
    ) -> Double {
        let (down, up) = (encoderMaps(size), decoderMaps(latentShape(size)))
        // The gradient of a convolution needs what went into it; pixels and what is drawn of them are floats.
        let pixels = down[0] + (up.last ?? 0)
        var operands = down.dropFirst().reduce(0, +) + up.dropLast().reduce(0, +)
        var floats = pixels
        for (layers, map) in [
            (configuration.encoder.residualLayers, down.last ?? 0), (configuration.decoder.residualLayers, up[0]),
        ] {
            // A block's input; and unless it is computed twice, what its convolutions and its attention saw.
            floats += Double(layers) * map
            if !checkpointsActivations { operands += 3 * Double(layers) * map }
        }
        return Double(clips) * (floatBytes * floats + Double(precision.byteCount) * operands)
    }
}

extension VQVAE {
    /// Refuses to encode or decode at once what cannot fit into the machine's memory.
    ///
    /// - Parameters:
    ///   - clips: how many.
    ///   - size: of a clip that is encoded, `[d1, ..., dn]`; `nil` to decode only.
    ///   - latent: the grid of ids of a clip that is decoded; `nil` to encode only.
    /// - Throws: ``TensorError`` with code `.invalidSize`.
    func requireMemory(clips: Int, size: [Int]? = nil, latent: [Int]? = nil) throws {
        if let size {
            try MachineMemory.require(
                encodingBytes(clips: clips, size: size), for: "Encoding \(clips) clip(s) of size \(size)")
        }
        if let latent {
            try MachineMemory.require(
                decodingBytes(clips: clips, latent: latent, inSlabs: false),
                for: "Decoding \(clips) clip(s) of \(latent) ids")
        }
    }
}

extension MultimodalGPT {
    /// Bytes of the keys and values that a sequence keeps for each position.
    public func cacheBytesPerPosition(_ type: CacheType = .float32) -> Double {
        let shape = decoderConfiguration
        return 2 * Double(type.byteCount) * Double(shape.layers) * Double(shape.width)
    }

    /// Bytes that reading prompts takes at least, the caches of what was read included.
    public func prefillBytes(prompts: Int, length: Int, cache: CacheType = .float32) -> Double {
        let tokens = Double(prompts) * Double(length)
        let together = min(tokens, Double(TransformerDecoder.tokensAtOnce))
        // Beside a layer's input, its MLP is four times as wide; tokens whose turn is another wait.
        let vectors = (tokens > together ? tokens : 0) + 5 * together
        return tokens * cacheBytesPerPosition(cache) + vectors * floatBytes * Double(decoderConfiguration.width)
    }

    /// Bytes that a pass of training takes at least, beside the parameters.
    ///
    /// - Parameters:
    ///   - sequences: how many a pass is over.
    ///   - checkpointsActivations: whether the insides of layers are computed twice instead of kept.
    ///   - precision: what operands of products are kept as.
    public func trainingBytes(
        sequences: Int, checkpointsActivations: Bool, precision: ProductPrecision = .float32
    ) -> Double {
        let shape = decoderConfiguration
        let (width, layers) = (Double(shape.width), Double(shape.layers))
        let (input, output) = (Double(inputCapacity), elements(latentShape))
        // Normalized states, query, key, value, what attention makes of them, and the inside of the MLP.
        let inside = 10 * width
        let computed = (checkpointsActivations ? min(layers, 1) : layers) * inside
        let perPosition = floatBytes * layers * width + Double(precision.byteCount) * computed
        let scores = input * Double(inputTokenCount) + output * Double(outputTokenCount)
        return Double(sequences) * ((input + output) * perPosition + floatBytes * scores)
    }
}
