/// How far a result may lie from what is expected: `|a - b| <= absolute + relative * |b|`.
///
/// The classes are named so that no test invents a number; each says why its numbers are what they are.
public struct Tolerance: Sendable, Equatable {
    /// The allowed share of the expected value.
    public var relative: Double
    /// What is allowed besides.
    public var absolute: Double

    /// A tolerance of its own; use a named class instead wherever one fits.
    public init(relative: Double, absolute: Double) {
        self.relative = relative
        self.absolute = absolute
    }

    /// The distance from 1 to the next `Float`.
    public static let singleEpsilon = 0x1p-23
    /// The distance from 1 to the next `Double`.
    public static let doubleEpsilon = 0x1p-52

    /// Bits: shapes, indices, copies, comparisons, random streams, thread counts.
    public static let exact = Tolerance(relative: 0, absolute: 0)
    /// Elementwise functions of `Float32`, in units in the last place, with a floor for values near zero.
    public static func elementwise(ulps: Double = 4) -> Tolerance {
        Tolerance(relative: ulps * singleEpsilon, absolute: ulps * singleEpsilon / 4)
    }
    /// Sums, means, softmax, norms and losses over `count` elements of `Float32`: errors grow with the root of the count.
    public static func reduction(_ count: Int) -> Tolerance {
        Tolerance(
            relative: 1e-6 * max(1, Double(count).squareRoot() / 32),
            absolute: 1e-6 * max(1, Double(count).squareRoot()))
    }
    /// Products, convolutions and attention over `count` terms of `Float32` whose magnitudes are about 1.
    public static func contraction(_ count: Int) -> Tolerance {
        Tolerance(
            relative: 1.3e-6 * max(1, Double(count).squareRoot()),
            absolute: max(1e-5, 4 * singleEpsilon * Double(count)))
    }
    /// A `Float64` result against a reference in another order of operations.
    public static let double = Tolerance(relative: 1e-11, absolute: 1e-11)
    /// A layer or block of `Float32`.
    public static let module = Tolerance(relative: 1e-5, absolute: 1e-5)
    /// A layer or block of `Float64`.
    public static let moduleDouble = Tolerance(relative: 1e-10, absolute: 1e-10)
    /// A whole model of `Float32`: the peer's own bar.
    public static let model = Tolerance(relative: 0, absolute: 1e-4)
    /// Ten optimizer steps: relative drift of the loss.
    public static let trajectory = Tolerance(relative: 1e-4, absolute: 0)
    /// An analytic against a numeric gradient in `Float64` (PyTorch's defaults for `gradcheck`).
    public static let gradient = Tolerance(relative: 1e-3, absolute: 1e-5)
    /// A `Float32` gradient against the same gradient in `Float64`, relative to the largest element.
    public static let singleGradient = Tolerance(relative: 1e-4, absolute: 2e-5)
    /// Storage in `bfloat16` (PyTorch's default).
    public static let bfloat16 = Tolerance(relative: 1.6e-2, absolute: 1e-5)
}
