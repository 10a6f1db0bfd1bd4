/// Classifier-free guidance: pushes the prompt's scores away from those of no prompt.
///
/// `scores = without + scale * (with - without)`; 1 leaves the prompt's scores, more follows the prompt more closely at the
/// price of variety, 0 ignores it. Typical: 2 to 5 for a model that was trained with some prompts left out, 1 for any
/// other. Both kinds of rows go through the network in one pass.
///
/// Source: Ho and Salimans 2022, arXiv:2207.12598; on tokens: Gafni et al. 2022, arXiv:2203.13131.
struct Guidance: Sendable {
    let scale: Float

    /// Whether anything but the prompt's scores is needed.
    var isActive: Bool { scale != 1 }

    /// Joins the scores of one sample, each one per id.
    func applied(with prompted: ArraySlice<Float>, without unprompted: ArraySlice<Float>) -> [Float] {
        var result = [Float](repeating: 0, count: prompted.count)
        prompted.withUnsafeBufferPointer { prompted in
            unprompted.withUnsafeBufferPointer { apply(with: prompted, without: $0, to: &result) }
        }
        return result
    }

    /// The same over memory.
    func apply(
        with prompted: UnsafeBufferPointer<Float>, without unprompted: UnsafeBufferPointer<Float>,
        to result: inout [Float]
    ) {
        result.withUnsafeMutableBufferPointer { result in
            for id in 0..<result.count { result[id] = unprompted[id] + scale * (prompted[id] - unprompted[id]) }
        }
    }
}
