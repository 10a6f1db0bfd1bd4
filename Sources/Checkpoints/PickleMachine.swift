/// The values a pickle's instructions work on; containers live in the machine's arena and are referred to by index.
///
/// The arena keeps deep nesting and cycles flat: nothing here recurses, whatever the file says.
enum PickleItem {
    case none
    case bool(Bool)
    case integer(Int64)
    /// An integer of more than 64 bits, as its little-endian bytes.
    case long([UInt8])
    case float(Double)
    case string(String)
    case bytes([UInt8])
    case global(String)
    case object(Int)
}

/// A container or made value of the arena.
enum PickleObject {
    case list([PickleItem])
    case tuple([PickleItem])
    case set([PickleItem])
    case dictionary(keys: [PickleItem], values: [PickleItem])
    /// A storage of a PyTorch file: the arguments of its persistent id.
    case storage(PickleStorage)
    case tensor(PickleTensor)
    /// A NumPy element type being described.
    case numpyType(String)
    /// A NumPy array; filled in by its state.
    case numpyArray(NumpyArray?)
    /// The result of a call that was not made.
    case opaque(name: String, reason: String, attributes: PickleItem?)
}

/// A stretch of elements that tensors are views of.
struct PickleStorage {
    let typeName: String
    let key: String
    let count: Int
    /// For legacy files, a storage that is part of another: its first element.
    var start = 0
}

/// A view of a storage.
struct PickleTensor {
    var storage: PickleStorage
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// A NumPy array as its pickle tells it.
struct NumpyArray {
    let type: String
    let shape: [Int]
    let isFortran: Bool
    let bytes: [UInt8]
}

/// Interprets one pickle without running anything it names.
struct PickleMachine {
    let bytes: UnsafeRawBufferPointer
    let path: String
    private(set) var position: Int
    private(set) var objects: [PickleObject] = []
    private var stack: [PickleItem] = []
    /// The stack heights at which marks lie.
    private var marks: [Int] = []
    private var memo: [Int: PickleItem] = [:]

    init(_ bytes: UnsafeRawBufferPointer, position: Int = 0, path: String) {
        self.bytes = bytes
        self.path = path
        self.position = position
    }

    func object(_ index: Int) -> PickleObject { objects[index] }

    func malformed(_ what: String) -> CheckpointError {
        CheckpointError(.malformed, "\(path): the pickle \(what) (at byte \(position)).")
    }

    mutating func make(_ object: PickleObject) -> PickleItem {
        objects.append(object)
        return .object(objects.count - 1)
    }

    // MARK: Reading

    private mutating func byte() throws -> UInt8 {
        guard position < bytes.count else {
            throw CheckpointError(.truncated, "\(path) is cut off: its pickle ends after \(bytes.count) bytes.")
        }
        position += 1
        return bytes[position - 1]
    }

    private mutating func number<Value: FixedWidthInteger>(_ type: Value.Type) throws -> Value {
        guard let value: Value = bytes.littleEndian(at: position) else {
            throw CheckpointError(.truncated, "\(path) is cut off: its pickle ends after \(bytes.count) bytes.")
        }
        position += MemoryLayout<Value>.size
        return value
    }

    private mutating func chunk<Length: FixedWidthInteger>(_ length: Length) throws -> UnsafeRawBufferPointer {
        guard let count = Int(exactly: length), let slice = bytes.slice(at: position, count: count) else {
            throw CheckpointError(.truncated, "\(path) is cut off: its pickle ends after \(bytes.count) bytes.")
        }
        position += count
        return slice
    }

    private mutating func line() throws -> String {
        let start = position
        while try byte() != UInt8(ascii: "\n") {}
        let text = UnsafeRawBufferPointer(rebasing: bytes[start..<position - 1])
        guard let text = String(validating: text, as: UTF8.self) else {
            throw malformed("holds a line that is not UTF-8")
        }
        return text
    }

    private func text(_ bytes: UnsafeRawBufferPointer) throws -> PickleItem {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw malformed("holds a string that is not UTF-8")
        }
        return .string(text)
    }

    // MARK: Stack

    mutating func pop() throws -> PickleItem {
        guard stack.count > (marks.last ?? 0), let item = stack.popLast() else {
            throw malformed("pops an empty stack")
        }
        return item
    }

    private func top() throws -> PickleItem {
        guard stack.count > (marks.last ?? 0), let item = stack.last else { throw malformed("reads an empty stack") }
        return item
    }

    private mutating func popToMark() throws -> [PickleItem] {
        guard let mark = marks.popLast(), mark <= stack.count else { throw malformed("lacks a mark") }
        let items = Array(stack[mark...])
        stack.removeLast(stack.count - mark)
        return items
    }

    private mutating func popSeveral(_ count: Int) throws -> [PickleItem] {
        guard stack.count - count >= (marks.last ?? 0) else { throw malformed("pops an empty stack") }
        let items = Array(stack[(stack.count - count)...])
        stack.removeLast(count)
        return items
    }

    private mutating func recall(_ key: Int) throws {
        guard let item = memo[key] else { throw malformed("reads the memo at \(key), where nothing was put") }
        stack.append(item)
    }

    // MARK: Instructions

    /// Runs to the STOP instruction and returns what is on the stack then.
    ///
    /// - Throws: ``CheckpointError`` with code `.malformed`, `.truncated` or `.unsupported`.
    mutating func run() throws -> PickleItem {
        while true {
            let instruction = try byte()
            if instruction == UInt8(ascii: ".") { return try pop() }
            try step(instruction)
        }
    }

    private mutating func step(_ instruction: UInt8) throws {
        switch instruction {
        // Values.
        case UInt8(ascii: "N"): stack.append(.none)
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        case UInt8(ascii: "K"): stack.append(.integer(Int64(try byte())))
        case UInt8(ascii: "M"): stack.append(.integer(Int64(try number(UInt16.self))))
        case UInt8(ascii: "J"): stack.append(.integer(Int64(try number(Int32.self))))
        case 0x8A: stack.append(Self.long(try chunk(try byte())))
        case 0x8B: stack.append(Self.long(try chunk(try number(Int32.self))))
        case UInt8(ascii: "I"), UInt8(ascii: "L"): stack.append(try textInteger(try line()))
        case UInt8(ascii: "F"):
            guard let value = Double(try line()) else { throw malformed("holds a broken float") }
            stack.append(.float(value))
        case UInt8(ascii: "G"): stack.append(.float(Double(bitPattern: try number(UInt64.self).byteSwapped)))
        case 0x8C: stack.append(try text(try chunk(try byte())))
        case UInt8(ascii: "X"): stack.append(try text(try chunk(try number(UInt32.self))))
        case 0x8D: stack.append(try text(try chunk(try number(UInt64.self))))
        // Python 2's byte strings: text where they are UTF-8, bytes otherwise.
        case UInt8(ascii: "U"): stack.append(Self.python2String(try chunk(try byte())))
        case UInt8(ascii: "T"): stack.append(Self.python2String(try chunk(try number(Int32.self))))
        case UInt8(ascii: "V"): stack.append(.string(try line()))
        case UInt8(ascii: "S"): stack.append(.string(String(try line().dropFirst().dropLast())))
        case UInt8(ascii: "C"): stack.append(.bytes(Array(try chunk(try byte()))))
        case UInt8(ascii: "B"): stack.append(.bytes(Array(try chunk(try number(UInt32.self)))))
        case 0x8E, 0x96: stack.append(.bytes(Array(try chunk(try number(UInt64.self)))))
        // Containers.
        case UInt8(ascii: "("): marks.append(stack.count)
        case UInt8(ascii: ")"): stack.append(make(.tuple([])))
        case UInt8(ascii: "t"): stack.append(make(.tuple(try popToMark())))
        case 0x85, 0x86, 0x87: stack.append(make(.tuple(try popSeveral(Int(instruction) - 0x84))))
        case UInt8(ascii: "]"): stack.append(make(.list([])))
        case UInt8(ascii: "l"): stack.append(make(.list(try popToMark())))
        case UInt8(ascii: "}"): stack.append(make(.dictionary(keys: [], values: [])))
        case UInt8(ascii: "d"):
            let items = try popToMark()
            stack.append(make(.dictionary(keys: [], values: [])))
            try setItems(items)
        case 0x8F: stack.append(make(.set([])))
        case 0x91: stack.append(make(.set(try popToMark())))
        case UInt8(ascii: "a"): try appendItems([try pop()])
        case UInt8(ascii: "e"), 0x90: try appendItems(try popToMark())
        case UInt8(ascii: "s"): try setItems(try popSeveral(2))
        case UInt8(ascii: "u"): try setItems(try popToMark())
        // Stack and memo.
        case UInt8(ascii: "0"):
            if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
        case UInt8(ascii: "1"): _ = try popToMark()
        case UInt8(ascii: "2"): stack.append(try top())
        case UInt8(ascii: "q"): memo[Int(try byte())] = try top()
        case UInt8(ascii: "r"): memo[Int(try number(UInt32.self))] = try top()
        case 0x94: memo[memo.count] = try top()
        case UInt8(ascii: "p"): memo[try textIndex()] = try top()
        case UInt8(ascii: "h"): try recall(Int(try byte()))
        case UInt8(ascii: "j"): try recall(Int(try number(UInt32.self)))
        case UInt8(ascii: "g"): try recall(try textIndex())
        // Names, calls and objects: none of them runs code.
        case UInt8(ascii: "c"):
            let module = try line()
            stack.append(.global("\(module).\(try line())"))
        case 0x93:
            guard case .string(let name) = try pop(), case .string(let module) = try pop() else {
                throw malformed("names a global by something other than two strings")
            }
            stack.append(.global("\(module).\(name)"))
        case UInt8(ascii: "R"), 0x81:
            let arguments = try pop()
            stack.append(try call(try pop(), arguments))
        case 0x92:
            _ = try pop()
            let arguments = try pop()
            stack.append(try call(try pop(), arguments))
        case UInt8(ascii: "b"):
            let state = try pop()
            try build(try top(), state)
        case UInt8(ascii: "Q"): stack.append(try persistent(try pop()))
        // Framing.
        case 0x80:
            let version = try byte()
            guard version <= 5 else {
                throw CheckpointError(.unsupported, "\(path): the pickle has protocol \(version); 0 to 5 are readable.")
            }
        case 0x95: _ = try number(UInt64.self)
        default:
            throw CheckpointError(
                .unsupported,
                "\(path): the pickle uses the instruction 0x\(String(instruction, radix: 16)) at byte \(position - 1), "
                    + "which no weights file needs.")
        }
    }

    private static func long(_ bytes: UnsafeRawBufferPointer) -> PickleItem {
        guard bytes.count <= 8 else { return .long(Array(bytes)) }
        var value: Int64 = (bytes.last ?? 0) >= 0x80 ? -1 : 0
        for byte in bytes.reversed() { value = value << 8 | Int64(byte) }
        return .integer(value)
    }

    private static func python2String(_ bytes: UnsafeRawBufferPointer) -> PickleItem {
        String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(Array(bytes))
    }

    private func textInteger(_ line: String) throws -> PickleItem {
        if line == "00" { return .bool(false) }
        if line == "01" { return .bool(true) }
        guard let value = Int64(line.hasSuffix("L") ? String(line.dropLast()) : line) else {
            throw malformed("holds an integer that is broken or beyond 64 bits")
        }
        return .integer(value)
    }

    private mutating func textIndex() throws -> Int {
        guard let index = Int(try line()), index >= 0 else { throw malformed("has a broken memo index") }
        return index
    }

    private mutating func appendItems(_ items: [PickleItem]) throws {
        guard case .object(let index) = try top() else { throw malformed("appends to something that is not a list") }
        switch objects[index] {
        case .list(var list):
            // Taken out first, so that appending does not copy.
            objects[index] = .list([])
            list.append(contentsOf: items)
            objects[index] = .list(list)
        case .set(var set):
            objects[index] = .set([])
            set.append(contentsOf: items)
            objects[index] = .set(set)
        case .opaque: break
        default: throw malformed("appends to something that is not a list")
        }
    }

    private mutating func setItems(_ items: [PickleItem]) throws {
        guard items.count % 2 == 0 else { throw malformed("sets a key without a value") }
        guard case .object(let index) = try top() else { throw malformed("sets a key of something that is not a dict") }
        switch objects[index] {
        case .dictionary(var keys, var values):
            objects[index] = .dictionary(keys: [], values: [])
            for pair in stride(from: 0, to: items.count, by: 2) {
                keys.append(items[pair])
                values.append(items[pair + 1])
            }
            objects[index] = .dictionary(keys: keys, values: values)
        case .opaque: break
        default: throw malformed("sets a key of something that is not a dict")
        }
    }

    mutating func replace(_ index: Int, by object: PickleObject) { objects[index] = object }
}
