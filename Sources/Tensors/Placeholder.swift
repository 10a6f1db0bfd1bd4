// Stand-ins until the tape, the copies and half precision land.
final class GradientNode: Sendable {}
func halfBits(_ value: Float) -> UInt16 { 0 }
extension Tensor {
    public func contiguous() -> Tensor { self }
    func copyElements(to destination: inout Tensor) { destination.storage.pointer.copyMemory(from: storage.pointer + offset * dtype.byteCount, byteCount: count * dtype.byteCount) }
}
