import Tensors

extension Tensor {
    /// Each vector along the last axis divided by its length, as contrastive losses want embeddings (PyTorch's
    /// `F.normalize`).
    ///
    /// - Parameter epsilon: the least length that is divided by; a vector of zeros stays one, with a finite gradient.
    /// - Returns: the same shape, `[..., width]`.
    public func unitVectors(epsilon: Double = 1e-12) -> Tensor {
        let least = Tensor(repeating: epsilon * epsilon, shape: [], dtype: dtype)
        let squares = squared().sum(axes: [-1], keepsAxes: true)
        // The bound is on the square: the root's slope at zero has no bound.
        return self / Tensor.maximum(squares, least).squareRoot()
    }
}
