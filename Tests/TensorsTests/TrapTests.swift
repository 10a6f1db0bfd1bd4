import Foundation
import Tensors
import TestSupport
import Testing

/// A programmer's mistake, and what the message must contain.
private struct Mistake: Sendable {
    let parts: [String]
    let run: @Sendable () -> Void
}

private func x(_ shape: Int...) -> Tensor { Tensor.zeros(shape) }
private let ids = Tensor([Int64(0), 9])

private let mistakes: [Mistake] = [
    Mistake(parts: ["matmul", "[4, 3]", "[4, 5]"]) { _ = matmul(x(4, 3), x(4, 5)) },
    Mistake(parts: ["+", "[2, 3]", "[4]"]) { _ = x(2, 3) + x(4) },
    Mistake(parts: ["*", "float32", "float64"]) { _ = x(2) * Tensor.zeros([2], dtype: .float64) },
    Mistake(parts: ["exp", "int64"]) { _ = ids.exp() },
    Mistake(parts: ["reshaped", "[2, 3]", "[4, 2]"]) { _ = x(2, 3).reshaped(to: [4, 2]) },
    Mistake(parts: ["reshaped", "[2, 3]", "[-2, -3]"]) { _ = x(2, 3).reshaped(to: [-2, -3]) },
    Mistake(parts: ["sliced", "2..<5", "[4, 4]"]) { _ = x(4, 4).sliced(1, 2..<5) },
    Mistake(parts: ["permuted", "[0, 0]"]) { _ = x(2, 3).permuted([0, 0]) },
    Mistake(parts: ["softmax", "scalar"]) { _ = x().softmax() },
    Mistake(parts: ["broadcast", "[2, 3]", "[2, 4]"]) { _ = x(2, 3).broadcast(to: [2, 4]) },
    Mistake(parts: ["padded", "[3]", "negative"]) { _ = x(3).padded([(-1, 0)]) },
    Mistake(parts: ["concatenated", "[2, 3]", "[3, 2]"]) { _ = concatenated([x(2, 3), x(3, 2)]) },
    Mistake(parts: ["sum", "axis 3", "rank 2"]) { _ = x(2, 3).sum(axes: [3]) },
    Mistake(parts: ["sum", "[0, -2]", "[2, 3]"]) { _ = x(2, 3).sum(axes: [0, -2]) },
    Mistake(parts: ["maximum", "[2, 0]"]) { _ = x(2, 0).maximum(along: 1) },
    Mistake(parts: ["rows", "id 9", "5 rows"]) { _ = x(5, 3).rows(ids) },
    Mistake(parts: ["sums", "label 9", "4"]) { _ = x(2, 3).sums(by: ids, count: 4) },
    Mistake(parts: ["crossEntropy", "target 9", "4 classes"]) { _ = x(2, 4).crossEntropy(ids) },
    Mistake(parts: ["linear", "[2, 3]", "[5, 4]"]) { _ = x(2, 3).linear(x(5, 4)) },
    Mistake(parts: ["linear", "bias [4]", "[5, 3]"]) { _ = x(2, 3).linear(x(5, 3), bias: x(4)) },
    Mistake(parts: ["linear", "packed", "[5, 3]"]) {
        _ = x(2, 3).linear(x(5, 3), packed: Tensors.PackedWeights(x(5, 2)))
    },
    Mistake(parts: ["convolution", "[1, 2, 5]", "[4, 3, 3]"]) {
        _ = x(1, 2, 5).convolved(x(4, 3, 3), geometry: ConvolutionGeometry(kernel: [3]))
    },
    Mistake(parts: ["convolution", "bias [2]", "[4, 2, 3]"]) {
        _ = x(1, 2, 5).convolved(x(4, 2, 3), bias: x(2), geometry: ConvolutionGeometry(kernel: [3]))
    },
    Mistake(parts: ["layerNorm", "[3]"]) { _ = x(2, 3).layerNorm(gain: x(2), epsilon: 1e-5) },
    Mistake(parts: ["groupNorm", "[2, 3]", "2 groups"]) { _ = x(2, 3).groupNorm(groups: 2, epsilon: 1e-5) },
    Mistake(parts: ["attention", "[1, 1, 2, 3]", "[1, 1, 2, 4]"]) {
        _ = scaledDotProductAttention(x(1, 1, 2, 3), x(1, 1, 2, 4), x(1, 1, 2, 4))
    },
    Mistake(parts: ["attention", "mask", "float32"]) {
        _ = scaledDotProductAttention(x(1, 1, 2, 3), x(1, 1, 2, 3), x(1, 1, 2, 3), mask: AttentionMask(keep: x(2, 2)))
    },
    Mistake(parts: ["backward", "[2]"]) { _ = x(2).tracked().backward() },
    Mistake(parts: ["backward", "walked before"]) {
        let loss = x(2).tracked().squared().sum()
        _ = (loss.backward(), loss.backward())
    },
    Mistake(parts: ["stepAdamW", "[3]", "[2]"]) {
        var (p, m, v) = (x(2), x(2), x(2))
        p.stepAdamW(gradient: x(3), first: &m, second: &v, numbers: AdamWStep(rate: 1, step: 1))
    },
    Mistake(parts: ["stepAdamW", "bfloat16"]) {
        var (p, m, v) = (x(2).cast(to: .bfloat16), x(2), x(2))
        p.stepAdamW(gradient: x(2), first: &m, second: &v, numbers: AdamWStep(rate: 1, step: 1))
    },
    Mistake(parts: ["Tensor", "[-1, -1]", "negative"]) { _ = x(-1, -1) },
    Mistake(parts: ["replace", "[2, 3]", "[4, 4]"]) {
        var whole = x(4, 4)
        whole.replace(axis: 0, at: 3, with: x(2, 3))
    },
    Mistake(parts: ["dropout", "1.0"]) { _ = x(2).dropout(1, key: RandomKey(seed: 0)) },
    Mistake(parts: ["scalars", "float32", "int64"]) { _ = x(2).scalars(Int64.self) },
]

@Suite(.serialized)
struct TrapTests {
    init() { setenv("SWIFT_BACKTRACE", "enable=no", 1) }

    @Test(
        "a programmer's mistake stops the process and says which operation, shapes and rule",
        arguments: mistakes.indices)
    func mistakesTrap(_ index: Int) async throws {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            [index = index as Int] in
            mistakes[index].run()
        }
        #if DEBUG
            let text = String(decoding: try #require(result).standardErrorContent, as: UTF8.self)
            for part in mistakes[index].parts { #expect(text.contains(part), "'\(part)' is not in: \(text)") }
        #endif
    }
}
