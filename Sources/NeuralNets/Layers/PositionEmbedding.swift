import Foundation
import Tensors

/// Something that gives the positions of a sequence their vectors.
public protocol PositionEmbedding: Module {
    /// The vectors of positions.
    ///
    /// - Parameter positions: `[batch or 1, length]`, `int64`, each in `0..<count`.
    /// - Returns: `[batch or 1, length, width]`.
    func callAsFunction(_ positions: Tensor) -> Tensor
    /// How many positions there are.
    var count: Int { get }
}

extension Embedding: PositionEmbedding {
    public var count: Int { weight.shape[0] }
}

/// Position vectors of an n-dimensional grid, the concatenation of one vector per axis, keys `embedding.d_#` (the peer's
/// `BroadcastedPositionEmbedding`).
public final class BroadcastedPositionEmbedding: Module, PositionEmbedding {
    /// The table of each axis, `[size, width / axes]`.
    let tables: [Parameter]
    private let shape: [Int]

    /// An embedding with normally distributed values.
    ///
    /// - Parameter deviation: of the first values; the peer's 0.01 is small beside tokens, so that position-wise attention
    ///   is learned late.
    /// - Precondition: the number of axes divides `width`.
    public init(shape: [Int], width: Int, deviation: Double = 0.01, random: RandomKey) {
        precondition(
            !shape.isEmpty && width % shape.count == 0,
            "BroadcastedPositionEmbedding: width \(width) does not divide over \(shape.count) axes")
        self.shape = shape
        tables = shape.enumerated().map { axis, size in
            Parameter(
                wrappedValue: Initialization.normal(
                    [size, width / shape.count], deviation: deviation, key: random.derived("d", axis)))
        }
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        tables.enumerated().map { ("embedding.d_\($0.offset)", $0.element) }
    }

    /// The number of places on the grid; position -1 is the last.
    public var count: Int { shape.reduce(1, *) }

    public func callAsFunction(_ positions: Tensor) -> Tensor {
        let flat = positions.scalars(Int64.self).map { position in
            precondition(
                (-1..<Int64(count)).contains(position),
                "BroadcastedPositionEmbedding: position \(position) is outside \(count) places")
            return position < 0 ? position + Int64(count) : position
        }
        var step = count
        let parts = shape.indices.map { axis in
            step /= shape[axis]
            let index = flat.map { $0 / Int64(step) % Int64(shape[axis]) }
            return tables[axis].wrappedValue.rows(Tensor(index, shape: positions.shape))
        }
        return concatenated(parts, axis: -1)
    }
}

/// Puts a learned start vector before a sequence and drops the last, key `sos` (the peer's `RightShift`, whose start
/// vector never received a gradient; this one does).
public final class RightShift: Module {
    /// `[width]`.
    @Parameter public var sos: Tensor

    /// A start vector drawn from a normal distribution of deviation 0.02.
    public init(_ width: Int, random: RandomKey) {
        sos = Initialization.normal([width], deviation: 0.02, key: random.derived("sos"))
    }

    /// `[batch, length, width]` shifted right by one.
    public func callAsFunction(_ x: Tensor) -> Tensor {
        let start = sos.broadcast(to: [x.shape[0], 1, x.shape[2]])
        guard x.shape[1] > 1 else { return start.contiguous() }
        return concatenated([start.contiguous(), x.sliced(1, 0..<(x.shape[1] - 1))], axis: 1)
    }
}

/// Vectors of diffusion timesteps: sines and then cosines of falling frequencies (Ho et al. 2020, arXiv:2006.11239; the
/// peer's `SinusoidalPositionEmbeddings`).
public final class SinusoidalPositionEmbeddings: Module {
    /// The size of a vector; the last element of an odd one is 0.
    public let width: Int

    /// An embedding without parameters.
    /// - Precondition: `width` is at least 4.
    public init(_ width: Int = 128) {
        precondition(width >= 4, "SinusoidalPositionEmbeddings: the width must be at least 4, not \(width)")
        self.width = width
    }

    /// The vectors of timesteps, `[batch]` to `[batch, width]`.
    public func callAsFunction(_ timesteps: Tensor) -> Tensor {
        let half = width / 2
        let step = Float(log(10000.0)) / Float(half - 1)
        let frequencies = Tensor((0..<half).map { exp(Float($0) * -step) }, shape: [1, half])
        let angles = timesteps.unsqueezed(1) * frequencies.cast(to: timesteps.dtype)
        let vectors = concatenated([angles.sin(), angles.cos()], axis: -1)
        return width % 2 == 0 ? vectors : vectors.padded([(0, 0), (0, 1)])
    }
}
