import Tensors

extension Tensor {
    /// Entries along the first axis by number, with repetitions: `[numbers, ...]` for this tensor as `[count, ...]`.
    ///
    /// - Precondition: the numbers are in `0..<count`.
    public func entries(_ numbers: [Int]) -> Tensor {
        let rows = reshaped(to: [shape[0], shape.dropFirst().reduce(1, *)]).rows(Tensor(numbers.map { Int64($0) }))
        return rows.reshaped(to: [numbers.count] + shape.dropFirst())
    }
}
