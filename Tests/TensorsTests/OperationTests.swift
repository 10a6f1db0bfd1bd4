import Foundation
import Tensors
import TestSupport
import Testing

/// What holds for every operation of the table.
@Suite(.serialized)
struct OperationTests {
    @Test("float32 follows float64", arguments: operationCases)
    func singleFollowsDouble(_ operation: OperationCase) {
        for inputs in operation.inputs(.float32) {
            let single = operation.apply(inputs)
            let double = operation.apply(inputs.map { $0.cast(to: .float64) })
            let shapes = inputs.map(\.shape)
            #expect(difference(single, double, within: operation.precision.tolerance) == nil, "\(shapes)")
            if single.dtype.isDifferentiable { #expect(double.dtype == .float64) }
        }
    }

    @Test("results are those of plain loops", arguments: operationCases.filter { $0.reference != nil })
    func resultsAreThoseOfPlainLoops(_ operation: OperationCase) throws {
        let reference = try #require(operation.reference)
        for inputs in operation.naiveInputs() {
            let expected = reference(inputs)
            let shapes = inputs.map(\.shape)
            let double = operation.apply(inputs.map { $0.tensor(.float64) })
            #expect(difference(double, expected.tensor(), within: .double) == nil, "float64 \(shapes)")
            let single = operation.apply(inputs.map { $0.tensor(.float32) })
            #expect(
                difference(single, expected.tensor(), within: operation.precision.tolerance) == nil, "float32 \(shapes)"
            )
        }
    }

    @Test("gradients are those of central differences", arguments: operationCases.filter(\.isDifferentiable))
    func gradientsAreThoseOfCentralDifferences(_ operation: OperationCase) {
        for inputs in operation.naiveInputs() {
            let tensors = inputs.map { $0.tensor(.float64) }
            #expect(gradientDifference(of: tensors, samples: 8, operation.apply) == nil, "\(inputs.map(\.shape))")
        }
    }

    @Test("float32 gradients follow float64 gradients", arguments: operationCases.filter(\.isDifferentiable))
    func singleGradientsFollowDoubleGradients(_ operation: OperationCase) {
        for inputs in operation.inputs(.float32) {
            let single = vectorJacobian(operation, inputs)
            let double = vectorJacobian(operation, inputs.map { $0.cast(to: .float64) })
            for (a, b) in zip(single, double) {
                let scale = b.count == 0 ? 1 : max(1, b.abs().flattened().maximum(along: 0).values.item(Double.self))
                let text = difference(a.cast(to: .float64) / scale, b / scale, within: .singleGradient)
                #expect(text == nil, "\(inputs.map(\.shape))")
            }
        }
    }

    @Test("layouts do not change a bit", arguments: operationCases)
    func layoutsDoNotChangeABit(_ operation: OperationCase) {
        for inputs in operation.naiveInputs() {
            let dense = inputs.map { $0.tensor(.float32) }
            let expected = operation.apply(dense)
            let gradients = operation.isDifferentiable ? vectorJacobian(operation, dense) : []
            for layout in Layout.allCases {
                let strided = dense.map(layout.relaid)
                let shapes = inputs.map(\.shape)
                #expect(differenceInBits(operation.apply(strided), expected) == nil, "\(layout) \(shapes)")
                guard operation.isDifferentiable else { continue }
                for (found, expected) in zip(vectorJacobian(operation, strided), gradients) {
                    #expect(differenceInBits(found, expected) == nil, "gradient, \(layout) \(shapes)")
                }
            }
        }
    }

    @Test("a broadcast view gives the bits of its copy", arguments: operationCases)
    func aBroadcastViewGivesTheBitsOfItsCopy(_ operation: OperationCase) {
        for inputs in operation.naiveInputs() {
            // The first element of the first axis, repeated.
            let views = inputs.map { input -> Tensor in
                let x = input.tensor(.float32)
                return x.rank > 0 && x.shape[0] > 0 ? x.sliced(0, 0..<1).broadcast(to: x.shape) : x
            }
            let copies = views.map { Tensor($0.scalars(Float.self), shape: $0.shape) }
            #expect(differenceInBits(operation.apply(views), operation.apply(copies)) == nil, "\(inputs.map(\.shape))")
        }
    }

    @Test("the number of threads does not change a bit", arguments: operationCases)
    func theNumberOfThreadsDoesNotChangeABit(_ operation: OperationCase) {
        let before = Threads.count
        defer { Threads.count = before }
        for tensors in operation.largeInputs().map({ [$0] }) ?? operation.inputs(.float32) {
            var expected: [Tensor] = []
            for threads in [1, 2, 5] {
                Threads.count = threads
                let found =
                    [operation.apply(tensors)] + (operation.isDifferentiable ? vectorJacobian(operation, tensors) : [])
                if expected.isEmpty { expected = found }
                for (a, b) in zip(found, expected) { #expect(differenceInBits(a, b) == nil, "\(threads) threads") }
            }
        }
    }

    @Test("inputs are left as they were", arguments: operationCases)
    func inputsAreLeftAsTheyWere(_ operation: OperationCase) {
        for inputs in operation.naiveInputs() {
            let tensors = inputs.map { $0.tensor(.float32) }
            _ = operation.apply(tensors)
            if operation.isDifferentiable { _ = vectorJacobian(operation, tensors) }
            for (tensor, input) in zip(tensors, inputs) {
                #expect(differenceInBits(tensor, input.tensor(.float32)) == nil)
            }
        }
    }
}

extension OperationCase {
    /// All inputs, the large ones last.
    fileprivate func inputs(_ dtype: DType) -> [[Tensor]] {
        naiveInputs().map { $0.map { $0.tensor(dtype) } } + (largeInputs(dtype).map { [$0] } ?? [])
    }
}

/// The gradients of the weighted result with respect to every input, zeros where it does not depend on one.
private func vectorJacobian(_ operation: OperationCase, _ inputs: [Tensor]) -> [Tensor] {
    let leaves = inputs.map { $0.tracked() }
    let output = operation.apply(leaves)
    let weights = Tensor.uniform(output.shape, key: RandomKey(seed: 99)).affine(scale: 2, shift: -1).cast(
        to: output.dtype)
    let found = gradients(of: [(output, weights)])
    return leaves.map { found[$0] ?? Tensor.zeros($0.shape, dtype: $0.dtype) }
}

/// Ways the same values can lie in memory.
private enum Layout: CaseIterable {
    case reversedAxes, inside, everySecond, borrowed

    func relaid(_ x: Tensor) -> Tensor {
        switch self {
        case .reversedAxes:
            let order = Array((0..<x.rank).reversed())
            return Tensor(x.permuted(order).scalars(Float.self), shape: x.shape.reversed()).permuted(order)
        case .inside:
            return x.padded(x.shape.map { _ in (1, 2) }).slicedBack { 1..<($0 - 2) }
        case .everySecond:
            guard let last = x.shape.last else { return x }
            let wide = stacked([x, x * 0 - 9], axis: -1).reshaped(to: x.shape.dropLast() + [last * 2])
            return wide.sliced(-1, 0..<(2 * last), step: 2)
        case .borrowed:
            let bytes = Bytes(x)
            let memory = UnsafeRawBufferPointer(start: bytes.memory.baseAddress, count: x.count * 4)
            return (try? Tensor(borrowing: memory, shape: x.shape, dtype: x.dtype, owner: bytes)) ?? x
        }
    }
}

/// Memory that somebody else owns.
private final class Bytes {
    let memory: UnsafeMutableRawBufferPointer
    init(_ x: Tensor) {
        memory = .allocate(byteCount: max(4, x.count * 4), alignment: 4)
        x.withUnsafeBytes { if $0.count > 0 { memory.copyMemory(from: $0) } }
    }
    deinit { memory.deallocate() }
}

extension Tensor {
    /// Every axis cut to a range that its size gives.
    fileprivate func slicedBack(_ range: (Int) -> Range<Int>) -> Tensor {
        (0..<rank).reduce(self) { $0.sliced($1, range($0.shape[$1])) }
    }
}
