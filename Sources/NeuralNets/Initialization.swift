import Tensors

/// First values of parameters, as PyTorch chooses them.
public enum Initialization {
    @TaskLocal static var isSkipped = false

    /// Builds a module whose parameters are about to be loaded: their first values are zeros instead of random numbers.
    public static func skipped<Result>(_ body: () throws -> Result) rethrows -> Result {
        try $isSkipped.withValue(true, operation: body)
    }

    /// Uniform in `-bound...bound`.
    public static func uniform(_ shape: [Int], bound: Double, key: RandomKey) -> Tensor {
        if isSkipped { return placeholder(shape) }
        return Tensor.uniform(shape, key: key).affine(scale: 2 * bound, shift: -bound)
    }

    /// Zeros that take no memory: what is loaded takes their place.
    private static func placeholder(_ shape: [Int]) -> Tensor { Tensor(scalar: Float(0)).broadcast(to: shape) }

    /// Normal with mean 0.
    public static func normal(_ shape: [Int], deviation: Double, key: RandomKey) -> Tensor {
        if isSkipped { return placeholder(shape) }
        return Tensor.normal(shape, key: key, deviation: deviation)
    }

    /// PyTorch's default for linear and convolution weights: Kaiming uniform with a = √5, that is ±1/√fanIn
    /// (He et al. 2015, arXiv:1502.01852).
    public static func fanIn(_ shape: [Int], fanIn: Int, key: RandomKey) -> Tensor {
        uniform(shape, bound: 1 / Double(max(fanIn, 1)).squareRoot(), key: key)
    }
}
