/// Uninitialized memory of the tensors' own pool, for what is put together or taken apart outside of operations.
///
/// Whoever holds it decides who writes when. Tensors may be laid over it (``Tensor/init(borrowing:shape:dtype:owner:)``):
/// they keep it, and see what is written to it.
public final class ScratchMemory: @unchecked Sendable {
    /// The memory, 64-byte aligned.
    public let bytes: UnsafeMutableRawBufferPointer

    /// Takes memory; when there is none the process ends with a sentence.
    public init(byteCount: Int) {
        bytes = UnsafeMutableRawBufferPointer(
            start: StoragePool.shared.take(byteCount: byteCount), count: byteCount)
    }

    deinit {
        if let start = bytes.baseAddress { StoragePool.shared.give(start, byteCount: bytes.count) }
    }
}
