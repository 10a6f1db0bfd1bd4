import JSON
import Tensors

/// Where the bytes of a pickle's storages are.
protocol PickleStorageSource {
    /// The bytes of a storage from its first element on, and what keeps them alive.
    mutating func content(of storage: PickleStorage, elementWidth: Int) throws
        -> (bytes: UnsafeRawBufferPointer, owner: FileBytes)
}

/// Turns what a pickle machine made into plain data and tensors.
struct PickleConverter<Source: PickleStorageSource> {
    let machine: PickleMachine
    var source: Source
    private var remainingNodes: Int
    /// Bytes that copies of strided and widened views may still take.
    private var remainingCopyBytes: Int

    private static var maximumDepth: Int { 100 }

    init(_ machine: PickleMachine, source: Source) {
        self.machine = machine
        self.source = source
        // Objects that are referred to often are written once and copied each time here: a small file must not grow
        // without bound.
        self.remainingNodes = 1_000_000 + 16 * machine.bytes.count
        self.remainingCopyBytes = (64 << 20) + 8 * machine.bytes.count
    }

    /// Allows copies as large as eight times the file.
    mutating func allowCopies(forFileOf byteCount: Int) {
        remainingCopyBytes = (64 << 20) + byteCount.multipliedReportingOverflow(by: 8).partialValue
    }

    mutating func convert(_ item: PickleItem, depth: Int = 0) throws -> PickleValue {
        remainingNodes -= 1
        guard remainingNodes >= 0, depth <= Self.maximumDepth else {
            throw CheckpointError(
                .limitExceeded,
                "\(machine.path): the pickle nests deeper than \(Self.maximumDepth) levels or unfolds "
                    + "into too many values."
            )
        }
        switch item {
        case .none: return .none
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .long(let bytes):
            return .opaque(.init(name: "int", reason: "is an integer of \(bytes.count) bytes", attributes: nil))
        case .float(let value): return .float(value)
        case .string(let value): return .string(value)
        case .bytes(let value): return .bytes(value)
        case .global(let name):
            if name.hasPrefix("torch.") { return .string(name) }
            return .opaque(.init(name: name, reason: "is the class or function \(name) itself", attributes: nil))
        case .object(let index): return try convert(machine.object(index), depth: depth)
        }
    }

    private mutating func convert(_ items: [PickleItem], depth: Int) throws -> [PickleValue] {
        var values: [PickleValue] = []
        values.reserveCapacity(items.count)
        for item in items { values.append(try convert(item, depth: depth + 1)) }
        return values
    }

    private mutating func convert(_ object: PickleObject, depth: Int) throws -> PickleValue {
        switch object {
        case .list(let items): return .list(try convert(items, depth: depth))
        case .tuple(let items): return .tuple(try convert(items, depth: depth))
        case .set(let items): return .set(try convert(items, depth: depth))
        case .dictionary(let keys, let values): return try convertDictionary(keys, values, depth: depth)
        case .tensor(let tensor): return try convert(tensor)
        case .storage(let storage): return .string("<\(storage.typeName) of \(storage.count) elements>")
        case .numpyType(let name): return .string(name)
        case .numpyArray(let array): return try convert(array)
        case .opaque(let name, let reason, let attributes):
            let attributes = try attributes.map { try convert($0, depth: depth + 1) }
            return .opaque(.init(name: name, reason: reason, attributes: attributes))
        }
    }

    private mutating func convertDictionary(
        _ keys: [PickleItem], _ values: [PickleItem], depth: Int
    ) throws -> PickleValue {
        var members: [(key: PickleValue, value: PickleValue)] = []
        var places: [String: Int] = [:]
        for (key, value) in zip(keys, values) {
            let member = (key: try convert(key, depth: depth + 1), value: try convert(value, depth: depth + 1))
            // As in Python, setting a key again keeps its place and replaces its value.
            if let text = member.key.stringValue {
                if let place = places[text] {
                    members[place] = member
                    continue
                }
                places[text] = members.count
            }
            members.append(member)
        }
        return .dictionary(members)
    }

    // MARK: Tensors

    private mutating func convert(_ view: PickleTensor) throws -> PickleValue {
        let typeName = view.storage.typeName
        guard let type = pytorchElementTypes[typeName] else {
            return .opaque(
                .init(name: typeName, reason: "has elements of \(typeName), which is not read", attributes: nil))
        }
        let width = type.byteCount
        guard view.shape.count <= maximumRank else {
            throw CheckpointError(
                .limitExceeded,
                "\(machine.path): a tensor has \(view.shape.count) axes; at most \(maximumRank) are read.")
        }
        guard view.shape.count == view.strides.count, view.offset >= 0, view.strides.allSatisfy({ $0 >= 0 }),
            let byteCount = checkedByteCount(view.shape, unit: width)
        else {
            throw outside(view)
        }
        if byteCount == 0 { return .tensor(Tensor.zeros(view.shape, dtype: type.dtype)) }
        // The last element's place tells whether the view stays inside its storage.
        var last = view.offset
        for (size, stride) in zip(view.shape, view.strides) {
            let (step, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
            let (sum, sumOverflow) = last.addingReportingOverflow(step)
            guard !overflow, !sumOverflow else { throw outside(view) }
            last = sum
        }
        let (bytes, owner) = try source.content(of: view.storage, elementWidth: width)
        guard last < bytes.count / width else { throw outside(view) }
        if isRowMajor(view) {
            guard let part = bytes.slice(at: view.offset * width, count: byteCount) else { throw outside(view) }
            if case .same = type {} else { try charge(byteCount * 4) }
            return .tensor(try makeTensor(part, shape: view.shape, type: type, owner: owner))
        }
        try charge(byteCount)
        let dense = gather(bytes, offset: view.offset, shape: view.shape, strides: view.strides, width: width)
        let copy = FileBytes(copying: dense, name: machine.path)
        return .tensor(try makeTensor(copy.bytes, shape: view.shape, type: type, owner: copy))
    }

    private mutating func charge(_ byteCount: Int) throws {
        remainingCopyBytes -= byteCount
        guard remainingCopyBytes >= 0 else {
            throw CheckpointError(
                .limitExceeded, "\(machine.path): its strided tensors unfold into far more bytes than the file has.")
        }
    }

    private func outside(_ view: PickleTensor) -> CheckpointError {
        CheckpointError(
            .malformed,
            "\(machine.path): a tensor of shape \(view.shape), strides \(view.strides) and offset \(view.offset) "
                + "reaches outside its storage \(quoted(view.storage.key)) of \(view.storage.count) elements.")
    }

    private func isRowMajor(_ view: PickleTensor) -> Bool {
        var expected = 1
        for (size, stride) in zip(view.shape, view.strides).reversed() where size != 1 {
            if stride != expected { return false }
            expected *= size
        }
        return true
    }

    private mutating func convert(_ array: NumpyArray?) throws -> PickleValue {
        guard let array else {
            return .opaque(.init(name: "numpy.ndarray", reason: "is a NumPy array without content", attributes: nil))
        }
        guard numpyElementType(array.type) != nil else {
            let reason = "has the NumPy type \(array.type), which is not read"
            return .opaque(.init(name: "numpy.ndarray", reason: reason, attributes: nil))
        }
        try charge(array.bytes.count * 4)
        let owner = FileBytes(copying: array.bytes, name: machine.path)
        let tensor = try makeNumpyTensor(
            owner.bytes, shape: array.shape, type: array.type, isFortran: array.isFortran, owner: owner,
            what: "\(machine.path): a NumPy array")
        guard array.shape.isEmpty else { return .tensor(tensor) }
        switch tensor.dtype {
        case .float64: return .float(tensor.item(Double.self))
        case .float32: return .float(Double(tensor.item(Float.self)))
        case .int64: return .integer(tensor.item(Int64.self))
        case .int32: return .integer(Int64(tensor.item(Int32.self)))
        case .uint8: return .integer(Int64(tensor.item(UInt8.self)))
        case .bool: return .bool(tensor.item(Bool.self))
        case .float16, .bfloat16: return .tensor(tensor)
        }
    }
}

/// The storages and element types of PyTorch that are read.
private let pytorchElementTypes: [String: ElementType] = {
    let storages: [(String, String, ElementType)] = [
        ("Float", "float32", .same(.float32)), ("Double", "float64", .same(.float64)),
        ("Half", "float16", .same(.float16)), ("BFloat16", "bfloat16", .same(.bfloat16)),
        ("Long", "int64", .same(.int64)), ("Int", "int32", .same(.int32)), ("Short", "int16", .int16),
        ("Char", "int8", .int8), ("Byte", "uint8", .same(.uint8)), ("Bool", "bool", .same(.bool)),
    ]
    var table: [String: ElementType] = ["torch.uint16": .uint16, "torch.uint32": .uint32]
    for (storage, dtype, type) in storages {
        table["torch.\(storage)Storage"] = type
        table["torch.cuda.\(storage)Storage"] = type
        table["torch.\(dtype)"] = type
    }
    return table
}()
