import Tensors

/// Compares the tape's gradients of `operation` in `Float64` with central differences, for every input.
///
/// The result is weighted by fixed random numbers, so that an element cannot hide behind another. At most `samples`
/// elements of each input are moved, spread over it.
///
/// - Parameters:
///   - inputs: `float64` tensors away from the operation's kinks.
///   - samples: how many elements of each input are moved at most.
///   - step: how far each is moved, both ways.
///   - tolerance: how far the two may differ.
///   - operation: what is differentiated, in all its inputs.
/// - Returns: what differs, as a sentence; `nil` when all agree.
public func gradientDifference(
    of inputs: [Tensor], samples: Int = 24, step: Double = 1e-6, within tolerance: Tolerance = .gradient,
    _ operation: ([Tensor]) -> Tensor
) -> String? {
    let leaves = inputs.map { $0.tracked() }
    let output = operation(leaves)
    guard output.recordsGradient else { return "the result is not on the tape" }
    var generator = SeededGenerator(seed: 77)
    let weights = Tensor((0..<output.count).map { _ in generator.real(-1...1) }, shape: output.shape)
    let gradients = gradients(of: [(output, weights)])
    func weighted(_ values: [Tensor]) -> Double {
        let output = withoutGradients { operation(values) }
        return zip(doubles(output), doubles(weights)).reduce(0) { $0 + $1.0 * $1.1 }
    }
    for (number, leaf) in leaves.enumerated() {
        guard let gradient = gradients[leaf] else {
            if leaf.count == 0 || output.count == 0 { continue }
            return "input \(number) has no gradient"
        }
        if gradient.shape != leaf.shape { return "input \(number): gradient \(gradient.shape) for shape \(leaf.shape)" }
        if gradient.dtype != leaf.dtype { return "input \(number): gradient is \(gradient.dtype)" }
        let analytic = doubles(gradient)
        let values = doubles(leaf)
        let places =
            values.count <= samples ? Array(values.indices) : (0..<samples).map { _ in generator.int(0..<values.count) }
        for place in places {
            func moved(_ by: Double) -> Double {
                var changed = values
                changed[place] += by
                var all = inputs
                all[number] = Tensor(changed, shape: leaf.shape)
                return weighted(all)
            }
            let numeric = (moved(step) - moved(-step)) / (2 * step)
            if let text = difference([analytic[place]], [numeric], within: tolerance) {
                return "input \(number), place \(place): \(text)"
            }
        }
    }
    return nil
}
