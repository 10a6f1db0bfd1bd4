// What the calls in a pickle mean. Known ones are done by hand; for all others the result is an opaque value.

extension PickleMachine {
    /// The result of the call `callable(*arguments)`, which is never made.
    mutating func call(_ callable: PickleItem, _ arguments: PickleItem) throws -> PickleItem {
        guard case .global(let name) = callable else {
            return make(
                .opaque(
                    name: "a computed callable", reason: "would be made by calling a computed value", attributes: nil))
        }
        guard let items = elements(arguments) else { throw malformed("calls \(name) without a tuple of arguments") }
        switch name {
        case "collections.OrderedDict", "builtins.dict", "__builtin__.dict":
            return try makeDictionary(items, name)
        case "collections.defaultdict": return try makeDictionary(Array(items.dropFirst()), name)
        case "collections.Counter": return try makeDictionary(items, name)
        case "builtins.list", "__builtin__.list": return make(.list(items.first.flatMap(elements) ?? []))
        case "builtins.tuple", "__builtin__.tuple": return make(.tuple(items.first.flatMap(elements) ?? []))
        case "builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset":
            return make(.set(items.first.flatMap(elements) ?? []))
        case "torch.Size": return make(.tuple(items.first.flatMap(elements) ?? []))
        case "torch.device": return items.first ?? .none
        case "_codecs.encode", "builtins.bytes", "__builtin__.bytes", "builtins.bytearray", "__builtin__.bytearray":
            return makeBytes(items, name)
        case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
            return try makeTensor(items, name)
        case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
            "torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.nn.parameter.Buffer":
            guard let data = items.first else { throw malformed("calls \(name) without data") }
            return data
        case "numpy.dtype":
            guard case .string(let type)? = items.first else { throw malformed("calls numpy.dtype without a name") }
            return make(.numpyType(type))
        case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
            return make(.numpyArray(nil))
        case "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar": return makeNumpyScalar(items, name)
        default:
            return make(.opaque(name: name, reason: "would be made by calling \(name)", attributes: nil))
        }
    }

    /// Gives an object its attributes; only plain data is ever taken.
    mutating func build(_ target: PickleItem, _ state: PickleItem) throws {
        guard case .object(let index) = target else {
            throw malformed("sets attributes of a plain value")
        }
        switch object(index) {
        // An OrderedDict's attributes (`_metadata`) say nothing about tensors.
        case .dictionary, .tensor, .list, .set, .tuple, .storage: return
        case .opaque(let name, let reason, _):
            replace(index, by: .opaque(name: name, reason: reason, attributes: state))
        case .numpyType(let type):
            guard let items = elements(state), items.count > 1, case .string(let order) = items[1] else {
                throw malformed("describes a NumPy type without its byte order")
            }
            let hasOrder = type.first.map { "<>|=".contains($0) } ?? false
            replace(index, by: .numpyType(hasOrder ? type : order + type))
        case .numpyArray:
            guard let items = elements(state), items.count >= 5, let shape = integers(items[1]),
                case .object(let typeIndex) = items[2], case .numpyType(let type) = object(typeIndex),
                case .bool(let isFortran) = items[3]
            else { throw malformed("describes a NumPy array that is not plain") }
            guard case .bytes(let bytes) = Self.bytesOf(items[4]) else {
                replace(
                    index, by: .opaque(name: "numpy.ndarray", reason: "is a NumPy array of objects", attributes: nil))
                return
            }
            replace(index, by: .numpyArray(NumpyArray(type: type, shape: shape, isFortran: isFortran, bytes: bytes)))
        }
    }

    /// What stands for a persistent id: a storage, or in legacy files a module's class beside its source.
    mutating func persistent(_ id: PickleItem) throws -> PickleItem {
        if let items = elements(id), items.count >= 2, case .string("module") = items[0], case .global = items[1] {
            return items[1]
        }
        guard let items = elements(id), items.count >= 5, case .string("storage") = items[0],
            case .global(let type) = items[1], let key = keyText(items[2]),
            case .integer(let count) = items[4], count >= 0
        else { throw malformed("has a persistent id that is not a PyTorch storage") }
        var storage = PickleStorage(typeName: type, key: key, count: Int(count))
        // Legacy files describe a storage that is part of another by (key, first element, count).
        if items.count > 5, let view = elements(items[5]), view.count == 3, case .integer(let start) = view[1],
            case .integer(let viewCount) = view[2]
        {
            guard start >= 0, viewCount >= 0, start <= count, viewCount <= count - start else {
                throw malformed("has a storage view outside its storage")
            }
            storage.start = Int(start)
        }
        return make(.storage(storage))
    }

    private func keyText(_ item: PickleItem) -> String? {
        switch item {
        case .string(let text): text
        case .integer(let number): String(number)
        default: nil
        }
    }

    /// The elements of a tuple, list or set.
    func elements(_ item: PickleItem) -> [PickleItem]? {
        guard case .object(let index) = item else { return nil }
        switch object(index) {
        case .tuple(let items), .list(let items), .set(let items): return items
        default: return nil
        }
    }

    private func integers(_ item: PickleItem) -> [Int]? {
        guard let items = elements(item) else { return nil }
        var values: [Int] = []
        for case .integer(let value) in items { values.append(Int(value)) }
        return values.count == items.count ? values : nil
    }

    private static func bytesOf(_ item: PickleItem) -> PickleItem {
        if case .string(let text) = item, text.unicodeScalars.allSatisfy({ $0.value < 0x80 }) {
            return .bytes(Array(text.utf8))
        }
        return item
    }

    private mutating func makeDictionary(_ arguments: [PickleItem], _ name: String) throws -> PickleItem {
        guard let first = arguments.first else { return make(.dictionary(keys: [], values: [])) }
        if case .object(let index) = first, case .dictionary(let keys, let values) = object(index) {
            return make(.dictionary(keys: keys, values: values))
        }
        guard let pairs = elements(first) else { throw malformed("calls \(name) with something other than pairs") }
        var keys: [PickleItem] = []
        var values: [PickleItem] = []
        for pair in pairs {
            guard let pair = elements(pair), pair.count == 2 else {
                throw malformed("calls \(name) with something other than pairs")
            }
            keys.append(pair[0])
            values.append(pair[1])
        }
        return make(.dictionary(keys: keys, values: values))
    }

    /// Protocol 2 writes bytes as Latin-1 text to be encoded.
    private mutating func makeBytes(_ arguments: [PickleItem], _ name: String) -> PickleItem {
        switch arguments.first {
        case nil: return .bytes([])
        case .bytes(let bytes)?: return .bytes(bytes)
        case .string(let text)?:
            let scalars = text.unicodeScalars
            if scalars.allSatisfy({ $0.value < 0x100 }) { return .bytes(scalars.map { UInt8($0.value) }) }
        default: break
        }
        return make(.opaque(name: name, reason: "would be made by calling \(name)", attributes: nil))
    }

    private mutating func makeTensor(_ arguments: [PickleItem], _ name: String) throws -> PickleItem {
        guard arguments.count >= 4, case .integer(let offset) = arguments[1],
            let shape = integers(arguments[2]), let strides = integers(arguments[3])
        else { throw malformed("rebuilds a tensor without offset, shape and strides") }
        guard case .object(let index) = arguments[0], case .storage(var storage) = object(index) else {
            throw malformed("rebuilds a tensor from something that is not a storage")
        }
        if name.hasSuffix("_v3") {
            guard arguments.count >= 7, case .global(let type) = arguments[6] else {
                throw malformed("rebuilds a tensor without its element type")
            }
            storage = PickleStorage(typeName: type, key: storage.key, count: storage.count, start: storage.start)
        }
        return make(.tensor(PickleTensor(storage: storage, offset: Int(offset), shape: shape, strides: strides)))
    }

    private mutating func makeNumpyScalar(_ arguments: [PickleItem], _ name: String) -> PickleItem {
        if arguments.count == 2, case .object(let index) = arguments[0], case .numpyType(let type) = object(index),
            case .bytes(let bytes) = Self.bytesOf(arguments[1])
        {
            return make(.numpyArray(NumpyArray(type: type, shape: [], isFortran: false, bytes: bytes)))
        }
        return make(.opaque(name: name, reason: "would be made by calling \(name)", attributes: nil))
    }
}
