/// An n-dimensional array: a value-semantics handle on reference storage, with strides and, where gradients are
/// recorded, the tape's node that produced it.
///
/// Copies share memory; nothing that one copy does is seen by another. Views (slices, transposes, broadcasts) share
/// memory too. A tensor is `Sendable`: it can be read from any thread.
public struct Tensor: Sendable {
    /// The element type.
    public let dtype: DType
    /// The size of each axis; empty for a scalar.
    public let shape: [Int]
    /// The step of each axis, in elements; zero along a broadcast axis.
    public let strides: [Int]
    /// The first element's position in the storage, in elements.
    let offset: Int
    var storage: Storage
    /// The tape's record of how this value was made; `nil` when no gradient flows through it.
    let node: GradientNode?

    init(storage: Storage, dtype: DType, shape: [Int], strides: [Int], offset: Int, node: GradientNode? = nil) {
        self.storage = storage
        self.dtype = dtype
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.node = node
    }

    /// Memory for a new tensor, its elements not yet written.
    init(uninitialized shape: [Int], dtype: DType) {
        precondition(shape.allSatisfy { $0 >= 0 }, "Tensor: the shape \(shape) has a negative size")
        let count = elementCount(of: shape)
        self.init(
            storage: Storage(byteCount: count * dtype.byteCount), dtype: dtype, shape: shape,
            strides: contiguousStrides(shape), offset: 0)
    }
}

// MARK: - Shape

extension Tensor {
    /// The number of axes.
    public var rank: Int { shape.count }
    /// The number of elements.
    public var count: Int { elementCount(of: shape) }
    /// Whether elements lie in row-major order without gaps.
    public var isContiguous: Bool {
        var expected = 1
        for axis in stride(from: rank - 1, through: 0, by: -1) where shape[axis] != 1 {
            if strides[axis] != expected { return count == 0 }
            expected *= shape[axis]
        }
        return true
    }
    /// Whether the tape follows this value.
    public var recordsGradient: Bool { node != nil }

    /// The size of one axis; negative axes count from the end.
    /// - Precondition: the axis exists.
    public func size(_ axis: Int) -> Int { shape[normalizedAxis(axis, rank: rank, operation: "size")] }
}

/// The number of elements in `shape`.
func elementCount(of shape: [Int]) -> Int { shape.reduce(1, *) }

/// Row-major strides of `shape`, in elements.
func contiguousStrides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    var step = 1
    for axis in stride(from: shape.count - 1, through: 0, by: -1) {
        strides[axis] = step
        step *= max(shape[axis], 1)
    }
    return strides
}

/// Turns an axis that may count from the end into `0..<rank`.
func normalizedAxis(_ axis: Int, rank: Int, operation: String) -> Int {
    let result = axis < 0 ? axis + rank : axis
    precondition((0..<max(rank, 1)).contains(result), "\(operation): axis \(axis) is outside a tensor of rank \(rank)")
    return result
}

// MARK: - Values in

extension Tensor {
    /// A tensor holding `values` in row-major order.
    ///
    /// - Parameters:
    ///   - values: as many elements as `shape` has places.
    ///   - shape: the size of each axis; the count of `values` along one axis when `nil`.
    /// - Precondition: the counts agree.
    public init<Scalar: TensorScalar>(_ values: [Scalar], shape: [Int]? = nil) {
        let shape = shape ?? [values.count]
        precondition(
            elementCount(of: shape) == values.count, "Tensor: \(values.count) values do not fill the shape \(shape)")
        self.init(uninitialized: shape, dtype: Scalar.dtype)
        values.withUnsafeBytes { source in
            if let base = source.baseAddress { storage.pointer.copyMemory(from: base, byteCount: source.count) }
        }
    }

    /// A scalar tensor (rank 0).
    public init<Scalar: TensorScalar>(scalar value: Scalar) { self.init([value], shape: []) }

    /// A tensor copied from raw little-endian elements in row-major order.
    ///
    /// - Throws: ``TensorError`` with code `.invalidSize` when the byte count is not that of `shape` and `dtype`.
    public init(bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType) throws {
        try Self.validate(byteCount: bytes.count, shape: shape, dtype: dtype)
        self.init(uninitialized: shape, dtype: dtype)
        if let base = bytes.baseAddress { storage.pointer.copyMemory(from: base, byteCount: bytes.count) }
    }

    /// A tensor over memory that `owner` keeps alive (a mapped file), not copied; writing to it copies first.
    ///
    /// - Throws: ``TensorError`` with code `.invalidSize` when the byte count is not that of `shape` and `dtype`.
    public init(borrowing bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType, owner: AnyObject) throws {
        try Self.validate(byteCount: bytes.count, shape: shape, dtype: dtype)
        guard let base = bytes.baseAddress, UInt(bitPattern: base) % UInt(dtype.byteCount) == 0 else {
            // Unaligned or empty: a copy is always correct.
            try self.init(bytes: bytes, shape: shape, dtype: dtype)
            return
        }
        self.init(
            storage: Storage(borrowing: base, byteCount: bytes.count, owner: owner), dtype: dtype, shape: shape,
            strides: contiguousStrides(shape), offset: 0)
    }

    private static func validate(byteCount: Int, shape: [Int], dtype: DType) throws {
        // Strides are products of the sizes that are not zero: they must not overflow either.
        var span = dtype.byteCount
        for size in shape {
            let (product, overflow) = span.multipliedReportingOverflow(by: max(size, 1))
            guard size >= 0, !overflow else {
                throw TensorError(.invalidSize, "The shape \(shape) is not one a tensor can have.")
            }
            span = product
        }
        let expected = shape.contains(0) ? 0 : span
        guard expected == byteCount else {
            throw TensorError(
                .invalidSize, "A \(dtype.rawValue) tensor of shape \(shape) takes \(expected) bytes, not \(byteCount).")
        }
    }

    /// A tensor filled with one value.
    public init(repeating value: Double, shape: [Int], dtype: DType = .float32) {
        self.init(uninitialized: shape, dtype: dtype)
        fill(value)
    }

    /// A tensor of zeros.
    public static func zeros(_ shape: [Int], dtype: DType = .float32) -> Tensor {
        let result = Tensor(uninitialized: shape, dtype: dtype)
        result.storage.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: result.storage.byteCount)
        return result
    }

    /// A tensor of ones.
    public static func ones(_ shape: [Int], dtype: DType = .float32) -> Tensor {
        Tensor(repeating: 1, shape: shape, dtype: dtype)
    }

    /// The integers `0..<count` as `int64`.
    public static func range(_ count: Int) -> Tensor { Tensor((0..<Int64(count)).map { $0 }) }

    /// Writes `value` everywhere; only for tensors that own fresh memory.
    private func fill(_ value: Double) {
        switch dtype {
        case .float32: bind(Float.self, Float(value))
        case .float64: bind(Double.self, value)
        case .int64: bind(Int64.self, Int64(value))
        case .int32: bind(Int32.self, Int32(value))
        case .uint8: bind(UInt8.self, UInt8(value))
        case .bool: bind(Bool.self, value != 0)
        case .bfloat16, .float16: bind(UInt16.self, storageBits(Float(value), dtype))
        }
    }

    private func bind<Scalar>(_ type: Scalar.Type, _ value: Scalar) {
        storage.pointer.bindMemory(to: type, capacity: count).update(repeating: value, count: count)
    }
}

// MARK: - Values out

extension Tensor {
    /// The elements in row-major order.
    ///
    /// - Parameter type: the Swift type of the element type; use ``cast(to:)`` first to read another.
    /// - Precondition: `type` is the tensor's own element type.
    public func scalars<Scalar: TensorScalar>(_ type: Scalar.Type = Scalar.self) -> [Scalar] {
        precondition(type.dtype == dtype, "scalars: a \(dtype.rawValue) tensor was read as \(type.dtype.rawValue)")
        return withUnsafeBytes { bytes in Array(bytes.bindMemory(to: Scalar.self)) }
    }

    /// The only element of a tensor with one element.
    /// - Precondition: there is exactly one element, of the given type.
    public func item<Scalar: TensorScalar>(_ type: Scalar.Type = Scalar.self) -> Scalar {
        precondition(count == 1, "item: a tensor of shape \(shape) has \(count) elements, not one")
        return scalars(type)[0]
    }

    /// Calls `body` with the elements as raw bytes in row-major order, made contiguous first where needed.
    public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        let dense = contiguous()
        return try withExtendedLifetime(dense.storage) {
            let start = dense.storage.pointer + dense.offset * dtype.byteCount
            return try body(UnsafeRawBufferPointer(start: start, count: count * dtype.byteCount))
        }
    }

    /// Calls `body` with the elements as writable raw bytes in row-major order.
    ///
    /// Memory that another tensor, a view or a file shares is copied first, so no other value changes. The tape forgets
    /// how the old value was made.
    public mutating func withUnsafeMutableBytes<Result>(
        _ body: (UnsafeMutableRawBufferPointer) throws -> Result
    ) rethrows -> Result {
        makeUnique()
        let start = storage.pointer + offset * dtype.byteCount
        return try body(UnsafeMutableRawBufferPointer(start: start, count: count * dtype.byteCount))
    }

    /// Gives this value memory of its own unless it already holds the only reference.
    private mutating func makeUnique() {
        if isContiguous && !storage.isBorrowed && isKnownUniquelyReferenced(&storage) && node == nil { return }
        var copy = Tensor(uninitialized: shape, dtype: dtype)
        copyElements(to: &copy)
        self = copy
    }
}
