import CKernels

/// What cached keys and values are stored as; arithmetic is in `float32` always.
public enum CacheType: String, Sendable, CaseIterable {
    /// As computed.
    case float32
    /// Rounded to nearest even: half the memory.
    case bfloat16
    /// Symmetric bytes with one scale per head and position: about a quarter of the memory.
    case int8

    var kernelCode: Int32 {
        switch self {
        case .float32: Int32(MM_CACHE_F32)
        case .bfloat16: Int32(MM_CACHE_BF16)
        case .int8: Int32(MM_CACHE_I8)
        }
    }

    /// The size of one number in bytes, scales not counted.
    public var byteCount: Int {
        switch self {
        case .float32: 4
        case .bfloat16: 2
        case .int8: 1
        }
    }
}

/// What every sequence of a cache has in common.
public struct CacheShape: Sendable, Hashable {
    /// Attention layers.
    public var layers: Int
    /// Heads of each.
    public var heads: Int
    /// Numbers of a head's key, and of its value.
    public var headWidth: Int
    /// What they are stored as.
    public var type: CacheType

    /// Creates a shape.
    public init(layers: Int, heads: Int, headWidth: Int, type: CacheType = .float32) {
        self.layers = layers
        self.heads = heads
        self.headWidth = headWidth
        self.type = type
    }
}

/// The tokens that one row reads in a pass; the tokens of a pass lie one behind the other, piece by piece.
public struct CachePiece: Sendable, Hashable {
    /// The cache's row.
    public var row: Int
    /// How many tokens.
    public var count: Int

    /// Creates a piece.
    public init(row: Int, count: Int) {
        self.row = row
        self.count = count
    }
}

/// The positions that a sequence begins with, in memory that any number of sequences read in place.
public struct CachedPrefix: Sendable {
    let block: CacheBlock
    /// The number of positions.
    public let length: Int
}

/// The keys and values that sequences' positions have left in every attention layer.
///
/// A value that the caller owns and passes in: no module remembers anything between calls. Each row is a sequence with a
/// length of its own; it may begin with positions that others share, grows by ``attended(layer:_:query:key:value:)``
/// and ``advance(_:)``, and can be set back. Rows that were not started have no memory.
public struct KeyValueCache: Sendable {
    /// What the rows have in common.
    public let shape: CacheShape
    private var rows: [Row]

    private struct Row: Sendable {
        var prefix: CachedPrefix?
        var block: CacheBlock
        var length = 0
    }

    /// A cache of rows that are empty and have no room yet.
    public init(_ shape: CacheShape, rows: Int) {
        self.shape = shape
        let none = CacheBlock(shape, room: 0)
        self.rows = Array(repeating: Row(prefix: nil, block: none), count: rows)
    }

    /// The number of rows.
    public var rowCount: Int { rows.count }
    /// The number of positions of a row, shared ones included.
    public func length(of row: Int) -> Int { sharedLength(of: row) + rows[row].length }
    /// The number of positions at the start of a row whose memory other rows may use too.
    public func sharedLength(of row: Int) -> Int { rows[row].prefix?.length ?? 0 }
    /// The number of positions there is room for, shared ones included.
    public func capacity(of row: Int) -> Int { sharedLength(of: row) + rows[row].block.room }

    /// Makes a row a new sequence.
    ///
    /// - Parameters:
    ///   - row: what it held is forgotten.
    ///   - prefix: what the sequence begins with.
    ///   - room: the positions there is to be room for behind that.
    public mutating func start(_ row: Int, after prefix: CachedPrefix? = nil, room: Int) {
        precondition(
            prefix.map { $0.block.shape == shape } ?? true, "KeyValueCache: a prefix of another shape was given")
        rows[row].prefix = prefix
        rows[row].length = 0
        if rows[row].block.room == room && isKnownUniquelyReferenced(&rows[row].block) { return }
        rows[row].block = CacheBlock(shape, room: room)
    }

    /// All positions of a row so far, for others to begin with; they are not copied.
    /// - Precondition: the row itself shares none.
    public func prefix(of row: Int) -> CachedPrefix {
        precondition(rows[row].prefix == nil, "KeyValueCache: a row with a shared prefix cannot become one")
        return CachedPrefix(block: rows[row].block, length: rows[row].length)
    }

    /// Sets a row back to fewer positions.
    /// - Precondition: it has as many, and the shared ones stay.
    public mutating func truncate(_ row: Int, to length: Int) {
        precondition(
            (sharedLength(of: row)...self.length(of: row)).contains(length),
            "KeyValueCache: a row of \(self.length(of: row)) positions cannot be set back to \(length)")
        rows[row].length = length - sharedLength(of: row)
    }

    /// Makes a row longer by repeating its own positions, so that reading behind many can be measured without having read
    /// them.
    ///
    /// - Parameters:
    ///   - row: it has own positions, and room.
    ///   - length: its length from now on, shared positions included.
    public mutating func repeatPositions(of row: Int, to length: Int) {
        let (given, wanted) = (rows[row].length, length - sharedLength(of: row))
        precondition(
            given > 0 && (given...rows[row].block.room).contains(wanted),
            "KeyValueCache: \(given) positions cannot be repeated to \(wanted) where there is room for "
                + "\(rows[row].block.room)")
        if !isKnownUniquelyReferenced(&rows[row].block) {
            rows[row].block = CacheBlock(copying: rows[row].block)
        }
        rows[row].block.repeatPositions(given, to: wanted)
        rows[row].length = wanted
    }

    /// Writes the keys and values of new tokens behind the rows' positions in one layer and attends, each token to its
    /// own and all earlier positions of its row.
    ///
    /// A token's result has the same bits whatever is read with it. The rows grow once ``advance(_:)`` is called, when
    /// every layer has been visited.
    ///
    /// - Parameters:
    ///   - layer: from 0.
    ///   - pieces: which tokens belong to which row; a row occurs once.
    ///   - query: `[tokens, heads * head width]`, `float32`.
    ///   - key: likewise.
    ///   - value: likewise.
    /// - Returns: likewise.
    /// - Precondition: there is room.
    public mutating func attended(
        layer: Int, _ pieces: [CachePiece], query: Tensor, key: Tensor, value: Tensor
    ) -> Tensor {
        let width = shape.heads * shape.headWidth
        let tokens = pieces.reduce(0) { $0 + $1.count }
        for x in [query, key, value] {
            precondition(
                x.dtype == .float32 && x.shape == [tokens, width] && (0..<shape.layers).contains(layer),
                "KeyValueCache: \(tokens) tokens of \(width) numbers do not fit \(x.shape) (\(x.dtype.rawValue))")
        }
        let (q, k, v) = (query.detached.runningRows(), key.detached.runningRows(), value.detached.runningRows())
        precondition(k.strides[0] == v.strides[0] || tokens <= 1, "KeyValueCache: keys and values lie differently")
        let output = Tensor(uninitialized: [tokens, width], dtype: .float32)
        guard output.count > 0 else { return output }
        var job = mm_cache_attention()
        job.rows = pieces.count
        job.heads = shape.heads
        job.dim = shape.headWidth
        job.type = shape.type.kernelCode
        job.scale = 1 / Double(shape.headWidth).squareRoot()
        (job.q_step, job.kv_step, job.o_step) = (q.strides[0], k.strides[0], width)
        var first = 0
        let spans = pieces.map { piece in
            defer { first += piece.count }
            return span(of: piece, layer: layer, first: first)
        }
        withTensors(q, k, v) {
            mm_attention_rows_f32(
                &job, spans, q.pointer(Float.self), k.pointer(Float.self), v.pointer(Float.self),
                output.mutablePointer(Float.self))
        }
        return output
    }

    /// Lets the rows grow by what was read.
    public mutating func advance(_ pieces: [CachePiece]) {
        for piece in pieces { rows[piece.row].length += piece.count }
    }

    private mutating func span(of piece: CachePiece, layer: Int, first: Int) -> mm_cache_row {
        let room = rows[piece.row].block.room
        precondition(
            rows[piece.row].length + piece.count <= room,
            "KeyValueCache: \(piece.count) positions do not fit behind \(rows[piece.row].length) of \(room)")
        // A block that somebody else reads is left to them.
        if !isKnownUniquelyReferenced(&rows[piece.row].block) {
            rows[piece.row].block = CacheBlock(copying: rows[piece.row].block)
        }
        let row = rows[piece.row]
        return mm_cache_row(
            shared: row.prefix.map { $0.block.span(layer, length: $0.length) } ?? mm_cache_span(),
            own: row.block.span(layer, length: row.length), queries: piece.count, first: first)
    }

    /// The keys and values of one row in one layer as they are used, `[heads, length, head width]` each, copied.
    public func contents(of row: Int, layer: Int) -> (keys: Tensor, values: Tensor) {
        let own = rows[row].block.contents(layer, length: rows[row].length)
        guard let prefix = rows[row].prefix else { return own }
        let shared = prefix.block.contents(layer, length: prefix.length)
        return (
            concatenated([shared.keys, own.keys], axis: 1), concatenated([shared.values, own.values], axis: 1)
        )
    }

    /// Where a row's own positions lie; it stays the same while the row only grows.
    public func address(of row: Int) -> Int { Int(bitPattern: rows[row].block.storage.pointer) }
}

/// The memory of one sequence's positions in all layers: for each layer keys, values, and for bytes the scales of both.
final class CacheBlock: Sendable {
    let shape: CacheShape
    let room: Int
    let storage: Storage

    init(_ shape: CacheShape, room: Int) {
        self.shape = shape
        self.room = room
        storage = Storage(byteCount: shape.layers * Self.layerBytes(shape, room))
    }

    convenience init(copying other: CacheBlock) {
        self.init(other.shape, room: other.room)
        storage.pointer.copyMemory(from: other.storage.pointer, byteCount: storage.byteCount)
    }

    private static func rounded(_ bytes: Int) -> Int { (bytes + 63) & ~63 }
    private static func numberBytes(_ shape: CacheShape, _ room: Int) -> Int {
        rounded(shape.heads * room * shape.headWidth * shape.type.byteCount)
    }
    private static func scaleBytes(_ shape: CacheShape, _ room: Int) -> Int {
        shape.type == .int8 ? rounded(shape.heads * room * 4) : 0
    }
    private static func layerBytes(_ shape: CacheShape, _ room: Int) -> Int {
        2 * (numberBytes(shape, room) + scaleBytes(shape, room))
    }

    func span(_ layer: Int, length: Int) -> mm_cache_span {
        let numbers = Self.numberBytes(shape, room)
        let scales = Self.scaleBytes(shape, room)
        let start = storage.pointer + layer * Self.layerBytes(shape, room)
        var span = mm_cache_span()
        span.keys = start
        span.values = start + numbers
        if scales > 0 {
            span.key_scales = (start + 2 * numbers).assumingMemoryBound(to: Float.self)
            span.value_scales = (start + 2 * numbers + scales).assumingMemoryBound(to: Float.self)
        }
        (span.room, span.length) = (room, length)
        return span
    }

    /// Fills positions up to `length` with the first `given`, again and again.
    func repeatPositions(_ given: Int, to length: Int) {
        func fill(_ start: UnsafeMutableRawPointer, _ bytes: Int) {
            for head in 0..<shape.heads {
                let first = start + head * room * bytes
                for position in stride(from: given, to: length, by: given) {
                    let count = min(given, length - position)
                    (first + position * bytes).copyMemory(from: first, byteCount: count * bytes)
                }
            }
        }
        withExtendedLifetime(self) {
            for layer in 0..<shape.layers {
                let span = span(layer, length: given)
                let bytes = shape.headWidth * shape.type.byteCount
                for numbers in [span.keys, span.values] { if let numbers { fill(numbers, bytes) } }
                for scales in [span.key_scales, span.value_scales] { if let scales { fill(scales, 4) } }
            }
        }
    }

    func contents(_ layer: Int, length: Int) -> (keys: Tensor, values: Tensor) {
        let span = span(layer, length: length)
        let size = [shape.heads, length, shape.headWidth]
        func read(_ numbers: UnsafeMutableRawPointer, _ scales: UnsafeMutablePointer<Float>?) -> Tensor {
            var result: [Float] = []
            result.reserveCapacity(elementCount(of: size))
            for head in 0..<shape.heads {
                for index in head * room..<head * room + length {
                    for element in index * shape.headWidth..<(index + 1) * shape.headWidth {
                        switch shape.type {
                        case .float32: result.append(numbers.load(fromByteOffset: 4 * element, as: Float.self))
                        case .bfloat16:
                            let bits = numbers.load(fromByteOffset: 2 * element, as: UInt16.self)
                            result.append(Float(bitPattern: UInt32(bits) << 16))
                        case .int8:
                            let byte = numbers.load(fromByteOffset: element, as: Int8.self)
                            result.append(Float(byte) * (scales?[index] ?? 1))
                        }
                    }
                }
            }
            return Tensor(result, shape: size)
        }
        return withExtendedLifetime(self) { (read(span.keys, span.key_scales), read(span.values, span.value_scales)) }
    }
}

extension Tensor {
    /// Itself when rows of a matrix run without gaps, a copy otherwise.
    fileprivate func runningRows() -> Tensor {
        strides[1] == 1 || shape[1] == 1 ? self : contiguous()
    }
}
