// How operations reach the elements: read pointers of contiguous tensors, write pointers of fresh ones. Everything here
// is internal; outside the library memory is reached through `withUnsafeBytes` only.

extension Tensor {
    /// The first element, for reading. The tensor must be kept alive by the caller while the pointer is used.
    func pointer<Scalar>(_ type: Scalar.Type) -> UnsafePointer<Scalar> {
        UnsafePointer(storage.pointer.assumingMemoryBound(to: type)) + offset
    }

    /// The first element, for writing; only for tensors made by `init(uninitialized:)` that nobody else holds yet.
    func mutablePointer<Scalar>(_ type: Scalar.Type) -> UnsafeMutablePointer<Scalar> {
        storage.pointer.assumingMemoryBound(to: type) + offset
    }

    /// The first element's address, whatever its type.
    var rawPointer: UnsafeRawPointer { UnsafeRawPointer(storage.pointer + offset * dtype.byteCount) }
}

/// Keeps tensors alive while their pointers are in use.
func withTensors<Result>(_ tensors: Tensor?..., body: () -> Result) -> Result {
    withExtendedLifetime(tensors) { body() }
}

/// Traps unless arithmetic is defined on the element type.
func requireReal(_ tensor: Tensor, _ operation: String) {
    precondition(
        tensor.dtype.isDifferentiable,
        "\(operation): \(tensor.dtype.rawValue) values must be cast to float32 or float64 first")
}

/// Traps unless a bias, if there is one, has one number of the weight's type for each output.
func requireBias(_ bias: Tensor?, of weight: Tensor, outputs: Int, _ operation: String) {
    guard let bias else { return }
    requireSame(bias, weight, operation)
    precondition(
        bias.shape == [outputs],
        "\(operation): bias \(bias.shape) does not fit weight \(weight.shape): it must be [\(outputs)]")
}

/// Traps unless both tensors have one element type.
func requireSame(_ a: Tensor, _ b: Tensor, _ operation: String) {
    precondition(
        a.dtype == b.dtype, "\(operation): the element types \(a.dtype.rawValue) and \(b.dtype.rawValue) differ")
}
