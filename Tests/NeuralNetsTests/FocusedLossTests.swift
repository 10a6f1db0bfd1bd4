import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct FocusedLossTests {
    let x = Tensor([1.0, -2, 0, 3])
    let zero = Tensor([0.0, 0, 0, 0])

    @Test("a focused error weighs each difference by its size; without focus it is the mean squared error")
    func values() {
        // |d|^3 = 1 + 8 + 0 + 27 over |d| = 1 + 2 + 0 + 3
        let expected: [(Double, Double)] = [(1, 6), (0, 3.5)]
        for (focus, value) in expected {
            let found = focusedSquaredError(x, zero, focus: focus)
            let wanted = Tensor(repeating: value, shape: [], dtype: found.dtype)
            #expect(difference(found, wanted, within: .contraction(4)) == nil)
        }
        #expect(focusedSquaredError(zero, zero, focus: 2).scalars(Double.self) == [0])
    }

    @Test("its gradient is that of the weighed power alone")
    func gradient() throws {
        let leaf = x.tracked()
        let gradient = try #require(focusedSquaredError(leaf, zero, focus: 1).backward()[leaf])
        // 3 d |d| over the four, by a mean of |d| of 1.5
        #expect(difference(gradient, Tensor([0.5, -2, 0, 4.5]), within: .contraction(4)) == nil)
    }
}
