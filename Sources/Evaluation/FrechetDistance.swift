import CKernels
import Tensors

/// Features of one side of a comparison, a row each.
public struct FeatureRows: Sendable {
    /// The number of features.
    public let width: Int
    private var values: [Float] = []

    /// No rows yet.
    public init(width: Int) { self.width = width }

    /// The number of rows.
    public var count: Int { values.count / max(width, 1) }

    /// Adds rows, `[rows, width]`, `float32`.
    public mutating func add(_ rows: Tensor) {
        precondition(rows.rank == 2 && rows.shape[1] == width, "FeatureRows: \(rows.shape) where \(width) are wanted")
        values += rows.scalars(Float.self)
    }

    /// All rows, `[rows, width]`, `float64`.
    var tensor: Tensor { Tensor(values, shape: [count, width]).cast(to: .float64) }
}

/// The Fréchet distance of two normal distributions with the means and covariances of two collections of features:
/// `|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)`.
///
/// The trace of the root is computed without the root. With C1 = A1ᵀA1 and C2 = A2ᵀA2 it is the sum of the singular values
/// of A1 A2ᵀ, which exist whether or not the covariances can be inverted; nothing is added to a diagonal. A collection of
/// no more rows than features is its own factor (its centred rows over √(n - 1)); of a larger one the factor is made of
/// the eigenvectors of its covariance.
///
/// Source: Heusel et al. 2017, arXiv:1706.08500; Unterthiner et al. 2018, arXiv:1812.01717.
public enum FrechetDistance {
    /// The distance, in double precision.
    ///
    /// - Throws: ``EvaluationError`` with code `.tooFew` for fewer than two rows on a side, `.invalidData` for rows of
    ///   different widths or numbers that are none.
    public static func between(_ a: FeatureRows, _ b: FeatureRows) throws -> Double {
        guard a.width == b.width else {
            throw EvaluationError(.invalidData, "The features are \(a.width) and \(b.width) numbers wide.")
        }
        guard a.count > 1, b.count > 1 else {
            throw EvaluationError(
                .tooFew,
                "A Fréchet distance needs at least 2 rows of features on each side; there are \(a.count) and \(b.count)."
            )
        }
        let (first, second) = (try Normal(a.tensor), try Normal(b.tensor))
        let apart = (first.mean - second.mean).squared().sum().item(Double.self)
        let product = matmul(first.factor, second.factor.transposed())
        let root = try singularValues(product).reduce(0, +)
        return apart + first.trace + second.trace - 2 * root
    }

    /// A mean, the trace of a covariance, and a factor A of it: `covariance = AᵀA`.
    private struct Normal {
        let mean: Tensor
        let trace: Double
        let factor: Tensor

        init(_ rows: Tensor) throws {
            let (count, width) = (rows.shape[0], rows.shape[1])
            mean = rows.mean(axes: [0], keepsAxes: true)
            let centred = (rows - mean) * (1 / Double(count - 1).squareRoot())
            trace = centred.squared().sum().item(Double.self)
            guard trace.isFinite else {
                throw EvaluationError(.invalidData, "The features hold a number that is none.")
            }
            factor = count <= width ? centred : try FrechetDistance.factor(matmul(centred.transposed(), centred))
        }
    }

    /// A with `AᵀA = covariance`: eigenvectors times the roots of their eigenvalues. Rounding below zero counts as zero.
    private static func factor(_ covariance: Tensor) throws -> Tensor {
        let size = covariance.shape[0]
        var (matrix, values) = (covariance.scalars(Double.self), [Double](repeating: 0, count: size))
        try require(mm_symmetric_eigen_f64(size, &matrix, &values))
        let roots = Tensor(values.map { max($0, 0).squareRoot() }, shape: [size, 1])
        return Tensor(matrix, shape: [size, size]) * roots
    }

    private static func singularValues(_ matrix: Tensor) throws -> [Double] {
        let (rows, columns) = (matrix.shape[0], matrix.shape[1])
        var (content, values) = (matrix.scalars(Double.self), [Double](repeating: 0, count: min(rows, columns)))
        try require(mm_singular_values_f64(rows, columns, &content, &values))
        return values
    }

    private static func require(_ status: Int32) throws {
        guard status == 0 else {
            throw EvaluationError(
                .invalidData, "The covariances of the features could not be decomposed (LAPACK's status \(status)).")
        }
    }
}
