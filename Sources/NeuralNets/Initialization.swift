import Tensors

/// First values of parameters, as PyTorch chooses them.
public enum Initialization {
    @TaskLocal static var isSkipped = false
    /// Whether first values are not made, since they are about to be replaced.
    public static var isSkipping: Bool { isSkipped }

    /// Builds a module whose parameters are about to be loaded, or only counted: each is one number seen everywhere, so
    /// that the largest model takes no memory.
    public static func skipped<Result>(_ body: () throws -> Result) rethrows -> Result {
        try $isSkipped.withValue(true, operation: body)
    }

    /// The same value everywhere.
    public static func constant(_ value: Double, _ shape: [Int]) -> Tensor {
        isSkipped ? Tensor(repeating: value, shape: []).broadcast(to: shape) : Tensor(repeating: value, shape: shape)
    }

    /// Uniform in `-bound...bound`.
    public static func uniform(_ shape: [Int], bound: Double, key: RandomKey) -> Tensor {
        if isSkipped { return constant(0, shape) }
        return Tensor.uniform(shape, key: key).affine(scale: 2 * bound, shift: -bound)
    }

    /// Normal with mean 0.
    public static func normal(_ shape: [Int], deviation: Double, key: RandomKey) -> Tensor {
        if isSkipped { return constant(0, shape) }
        return Tensor.normal(shape, key: key, deviation: deviation)
    }

    /// Normal with mean 0, without what lies beyond `limit` on either side (PyTorch's `trunc_normal_`).
    public static func truncatedNormal(_ shape: [Int], deviation: Double, limit: Double = 2, key: RandomKey) -> Tensor {
        if isSkipped { return constant(0, shape) }
        var values = Tensor.normal(shape, key: key, deviation: deviation).scalars(Float.self)
        var beyond = values.indices.filter { Double(abs(values[$0])) > limit }
        var round = 0
        while !beyond.isEmpty {
            round += 1
            let again = Tensor.normal([beyond.count], key: key.derived("again", round), deviation: deviation)
            for (index, value) in zip(beyond, again.scalars(Float.self)) { values[index] = value }
            beyond = beyond.filter { Double(abs(values[$0])) > limit }
        }
        return Tensor(values, shape: shape)
    }

    /// PyTorch's default for linear and convolution weights: Kaiming uniform with a = √5, that is ±1/√fanIn
    /// (He et al. 2015, arXiv:1502.01852).
    public static func fanIn(_ shape: [Int], fanIn: Int, key: RandomKey) -> Tensor {
        uniform(shape, bound: 1 / Double(max(fanIn, 1)).squareRoot(), key: key)
    }
}
