import Tensors
import TestSupport
import Testing

@Suite struct TapeTests {
    private let x = Tensor([1.0, -2, 3]).tracked()

    @Test("a chain of ten thousand operations is released without nesting", arguments: [false, true])
    func longChains(walks: Bool) throws {
        // A small stack would overflow at once if nodes released each other recursively.
        let leaf = Tensor([0.5]).tracked()
        var y = leaf
        for _ in 0..<10_000 { y = y + 0.001 }
        if walks { #expect(try #require(y.sum().backward()[leaf]).scalars(Double.self) == [1]) }
        y = leaf
        // Every step uses the value before twice: a ladder of diamonds.
        for _ in 0..<3_400 { y = y * 0.5 + y * 0.5 }
        if walks { #expect(try #require(y.sum().backward()[leaf]).scalars(Double.self) == [1]) }
    }

    @Test("each use of a value adds to its gradient")
    func reuse() throws {
        let y = x * x + x * 3 + x
        #expect(try #require(y.sum().backward()[x]).scalars(Double.self) == [6, 0, 10])
    }

    @Test("gradients are handed over as they are complete, with the bits of those that are returned")
    func handedOver() throws {
        let starts = (0..<6).map { Tensor.normal([9], key: RandomKey(seed: 8, stream: UInt64($0))) }
        /// A chain of which the second value is used at both ends, the fourth twice in one operation, and the last not at
        /// all; a part of it is computed twice.
        func result(_ leaves: [Tensor]) -> Tensor {
            let first = (leaves[0] * leaves[1]).tanh()
            let middle = checkpointed(first) { x, _ in (x * leaves[2]).sin() + leaves[2] }
            return (middle * leaves[3] * leaves[3] + leaves[4] + leaves[1]).squared().sum()
        }
        let kept = starts.map { $0.tracked() }
        let expected = result(kept).backward()
        let leaves = starts.map { $0.tracked() }
        var found: [Int: Tensor] = [:]
        var order: [Int] = []
        result(leaves).backward(to: leaves) { place, gradient in
            #expect(found[place] == nil)
            found[place] = gradient
            order.append(place)
        }
        #expect(order == [4, 3, 2, 0, 1])
        for (place, leaf) in kept.enumerated() {
            #expect((expected[leaf] == nil) == (found[place] == nil))
            if let other = expected[leaf], let own = found[place] { #expect(differenceInBits(own, other) == nil) }
        }
    }

    @Test("a leaf that is the result itself, or behind what has no gradient, is handed over all the same")
    func handedOverLast() {
        let (a, b) = (Tensor([2.0]).tracked(), Tensor([3.0]).tracked())
        var found: [Int: [Double]] = [:]
        a.backward(to: [a, b]) { found[$0] = $1.scalars(Double.self) }
        #expect(found == [0: [1]])
        found = [:]
        // The place of the largest is no function that a gradient goes through.
        let places = (a * b).argmax().cast(to: .float64)
        (a * 5 + b * places.sum()).sum().backward(to: [b, a]) { found[$0] = $1.scalars(Double.self) }
        #expect(found == [0: [0], 1: [5]])
    }

    @Test("a leaf that the result does not depend on has no gradient")
    func independentLeaf() {
        let other = Tensor([1.0]).tracked()
        let gradients = x.squared().sum().backward()
        #expect(gradients[other] == nil)
        #expect(gradients[Tensor([1.0])] == nil)
    }

    @Test("a result that is itself a leaf has the cotangent as its gradient")
    func leafAsResult() throws {
        let found = gradients(of: [(x, Tensor([5.0, 6, 7])), (x, Tensor([1.0, 1, 1]))])
        #expect(try #require(found[x]).scalars(Double.self) == [6, 7, 8])
    }

    @Test("several results share one walk")
    func severalResults() throws {
        let y = x.squared()
        let found = gradients(of: [(y.sum(), Tensor(scalar: 1.0)), (y * 2, Tensor([1.0, 0, 0]))])
        #expect(try #require(found[x]).scalars(Double.self) == [6, -4, 6])
    }

    @Test("detached values and constants stop the gradient")
    func detached() throws {
        let y = x.detached * x
        #expect(try #require(y.sum().backward()[x]).scalars(Double.self) == [1, -2, 3])
        #expect(!x.detached.recordsGradient)
        #expect(!(x.detached * 2).recordsGradient)
    }

    @Test("nothing is recorded inside withoutGradients, and again after it")
    func withoutRecording() throws {
        let y = withoutGradients { x * 2 }
        #expect(!y.recordsGradient)
        #expect((x * 2).recordsGradient)
        struct Stop: Error {}
        #expect(throws: Stop.self) { try withoutGradients { throw Stop() } }
        #expect((x * 2).isRecording)
    }

    @Test("types that have no gradient end the tape")
    func integers() {
        #expect(!x.cast(to: .int64).recordsGradient)
        #expect(!(x > x).recordsGradient)
        #expect(!x.argmax().recordsGradient)
        #expect(x.cast(to: .float32).recordsGradient)
    }

    @Test("gradients are added in an order that does not change from run to run")
    func accumulationOrder() throws {
        let start = Tensor.normal([257], key: RandomKey(seed: 4))
        func gradient() throws -> Tensor {
            let leaf = start.tracked()
            let y = leaf.exp() + leaf.sin() * leaf + leaf.tanh() / (leaf.squared() + 1) + leaf.sigmoid() * leaf.cos()
            return try #require(y.sum().backward()[leaf])
        }
        let first = try gradient()
        for _ in 0..<5 { #expect(differenceInBits(try gradient(), first) == nil) }
    }

    @Test("writing into a value forgets how it was made and leaves what was recorded alone")
    func writingAfterRecording() throws {
        var y = x * 2
        let z = y.squared()
        y.withUnsafeMutableBytes { bytes in bytes.initializeMemory(as: UInt8.self, repeating: 0) }
        #expect(!y.recordsGradient)
        #expect(try #require(z.sum().backward()[x]).scalars(Double.self) == [8, -16, 24])
    }

    @Test("a broadcast leaf gets the sum over its copies")
    func broadcastLeaf() throws {
        let bias = Tensor([1.0, 2]).tracked()
        let y = Tensor.ones([3, 2], dtype: .float64) * bias
        #expect(try #require(y.sum().backward()[bias]).scalars(Double.self) == [3, 3])
    }
}
