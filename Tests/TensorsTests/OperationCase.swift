import Tensors
import TestSupport
import Testing

/// Which numbers an operation is tested on: away from where it is undefined or has a kink.
enum Domain: Sendable {
    /// -2...2.
    case real
    /// 0.25...3.
    case positive
    /// Between 0.25 and 2 in magnitude, both signs.
    case nonzero
    /// All elements of all inputs at least 0.01 apart, and away from zero.
    case distinct

    func inputs(_ shapes: [[Int]], seed: UInt64) -> [NaiveArray] {
        var generator = SeededGenerator(seed: seed)
        let total = shapes.reduce(0) { $0 + $1.reduce(1, *) }
        let order = self == .distinct ? Array(0..<total).shuffled(using: &generator) : []
        var position = 0
        return shapes.map { shape in
            NaiveArray(shape) { _ in
                defer { position += 1 }
                switch self {
                case .real: return generator.real(-2...2)
                case .positive: return generator.real(0.25...3)
                case .nonzero: return generator.real(0.25...2) * (generator.int(0..<2) == 0 ? 1 : -1)
                case .distinct: return Double(Float(order[position] - total / 2) * 0.015625 + 0.0078125)
                }
            }
        }
    }
}

/// How closely `Float32` must follow `Float64`.
enum Precision: Sendable {
    case exact
    case elementwise(Double)
    case reduction(Int)
    case contraction(Int)

    var tolerance: Tolerance {
        switch self {
        case .exact: .exact
        case .elementwise(let ulps): .elementwise(ulps: ulps)
        case .reduction(let count): .reduction(count)
        case .contraction(let count): .contraction(count)
        }
    }
}

/// One row of the table of operations: what it covers, how to call it, on what, and what to expect.
struct OperationCase: Sendable, CustomTestStringConvertible {
    /// What failures call it.
    let name: String
    /// The declarations it covers, as the scan of the sources spells them.
    let covers: [String]
    /// Lists of input shapes: typical, size 1, odd, broadcast, empty, larger than a tile.
    let shapes: [[[Int]]]
    /// Shapes that are split over threads.
    let large: [[Int]]?
    let domain: Domain
    let precision: Precision
    /// Whether gradients flow to every input.
    let isDifferentiable: Bool
    /// Calls the operation on inputs of `float32` or `float64`.
    let apply: @Sendable ([Tensor]) -> Tensor
    /// The same by plain loops.
    let reference: (@Sendable ([NaiveArray]) -> NaiveArray)?

    var testDescription: String { name }

    init(
        _ name: String, covers: [String]? = nil, _ shapes: [[[Int]]], large: [[Int]]? = nil, domain: Domain = .real,
        precision: Precision = .elementwise(2), differentiable: Bool = true,
        reference: (@Sendable ([NaiveArray]) -> NaiveArray)? = nil, apply: @escaping @Sendable ([Tensor]) -> Tensor
    ) {
        self.name = name
        self.covers = covers ?? [name]
        self.shapes = shapes
        self.large = large
        self.domain = domain
        self.precision = precision
        self.isDifferentiable = differentiable
        self.apply = apply
        self.reference = reference
    }

    /// The inputs of each list of shapes.
    func naiveInputs() -> [[NaiveArray]] {
        shapes.enumerated().map { domain.inputs($0.element, seed: seed(of: name) &+ UInt64($0.offset)) }
    }

    /// Inputs that are large enough to be split over threads.
    func largeInputs(_ dtype: DType = .float32) -> [Tensor]? {
        large.map { shapes in
            shapes.enumerated().map { number, shape in
                let unit = Tensor.uniform(shape, key: RandomKey(seed: seed(of: name), stream: UInt64(number)))
                switch domain {
                case .real, .distinct: return unit.affine(scale: 4, shift: -2).cast(to: dtype)
                case .positive: return unit.affine(scale: 2.75, shift: 0.25).cast(to: dtype)
                case .nonzero:
                    let centered = unit.affine(scale: 2, shift: -1)
                    return (centered + centered.sign() * 0.25).cast(to: dtype)
                }
            }
        }
    }
}

/// Every operation of the library; the coverage test fails when one is missing.
let operationCases: [OperationCase] =
    elementwiseCases + arithmeticCases + layoutCases + reductionCases + indexingCases + productCases
    + normalizationCases + convolutionCases + poolingCases + attentionCases
