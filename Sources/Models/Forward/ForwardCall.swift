import Checkpoints
import JSON
import NeuralNets
import Tensors

/// What the shape of an input must be; `nil` stands for any size of at least 1.
enum ShapeRule: CustomStringConvertible {
    /// These axes and no others.
    case exactly([Int?])
    /// These axes first, then others.
    case starting([Int?], more: ClosedRange<Int>)
    /// These axes last, others before.
    case ending([Int?], more: ClosedRange<Int> = 0...8)
    /// Any shape.
    case any

    func accepts(_ shape: [Int]) -> Bool {
        func fit(_ sizes: some Sequence<Int>, _ wanted: [Int?]) -> Bool {
            zip(sizes, wanted).allSatisfy { $1 == nil || $0 == $1 }
        }
        switch self {
        case .exactly(let sizes): return shape.count == sizes.count && fit(shape, sizes)
        case .starting(let sizes, let more):
            return more.contains(shape.count - sizes.count) && fit(shape.prefix(sizes.count), sizes)
        case .ending(let sizes, let more):
            return more.contains(shape.count - sizes.count) && fit(shape.suffix(sizes.count), sizes)
        case .any: return true
        }
    }

    var description: String {
        func list(_ sizes: [Int?]) -> String { sizes.map { $0.map(String.init) ?? "*" }.joined(separator: ", ") }
        func count(_ range: ClosedRange<Int>) -> String {
            range.lowerBound == range.upperBound ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
        }
        switch self {
        case .exactly(let sizes): return "[\(list(sizes))]"
        case .starting(let sizes, let more): return "[\(list(sizes)), ...] with \(count(more)) more axes"
        case .ending(let sizes, _): return "[..., \(list(sizes))]"
        case .any: return "[...]"
        }
    }
}

/// One call's inputs and arguments, read with the checks that keep files away from traps.
struct ForwardCall {
    let inputs: [String: Tensor]
    let arguments: JSONFields
    let context: ForwardContext

    /// Whether an input is there.
    func has(_ name: String) -> Bool { inputs[name] != nil }

    /// The names of the parts of an argument that is an object of tensors, sorted.
    func names(below argument: String) -> [String] {
        inputs.keys.filter { $0.hasPrefix(argument + ".") }.map { String($0.dropFirst(argument.count + 1)) }.sorted()
    }

    /// An input of any element type.
    func tensor(_ name: String, _ rule: ShapeRule) throws -> Tensor {
        guard let tensor = inputs[name] else { throw ModelError(.invalidInput, "The input '\(name)' is missing.") }
        guard !tensor.shape.contains(0) else {
            throw ModelError(.invalidInput, "'\(name)' has the shape \(tensor.shape); no axis may have the size 0.")
        }
        guard rule.accepts(tensor.shape) else {
            throw ModelError(.invalidInput, "'\(name)' must have the shape \(rule), not \(tensor.shape).")
        }
        return tensor
    }

    /// A real input, as `float32` on the tape.
    func real(_ name: String, _ rule: ShapeRule) throws -> Tensor {
        let value = try tensor(name, rule)
        guard value.dtype == .float32 else {
            throw ModelError(.invalidInput, "'\(name)' must hold real numbers, not \(value.dtype.rawValue).")
        }
        return value
    }

    /// A list of real inputs, `name.0`, `name.1`, ...
    func reals(_ name: String, count: Int, _ rule: ShapeRule) throws -> [Tensor] {
        try (0..<count).map { try real("\(name).\($0)", rule) }
    }

    /// Ids, as `int64`, each in `range`.
    func ids(_ name: String, _ rule: ShapeRule, in range: Range<Int>) throws -> Tensor {
        let value = try tensor(name, rule)
        guard [.int64, .int32, .uint8].contains(value.dtype) else {
            throw ModelError(.invalidInput, "'\(name)' must hold integers, not \(value.dtype.rawValue).")
        }
        let ids = value.cast(to: .int64)
        if let stranger = ids.scalars(Int64.self).first(where: { !range.contains(Int($0)) }) {
            throw ModelError(
                .invalidInput,
                "'\(name)' holds \(stranger); allowed are \(range.lowerBound) to \(range.upperBound - 1).")
        }
        return ids
    }

    /// A mask as `bool` (not zero keeps), if it is there; it must broadcast to `shape`.
    func mask(_ name: String, to shape: [Int]) throws -> Tensor? {
        guard let mask = try broadcastable(name, to: shape) else { return nil }
        return mask.dtype == .bool ? mask : (1 - isZero(mask).cast(to: .float32)).cast(to: .bool)
    }

    /// Factors as `float32`, if they are there; they must broadcast to `shape`.
    func factors(_ name: String, to shape: [Int]) throws -> Tensor? {
        try broadcastable(name, to: shape).map { $0.dtype == .float32 ? $0 : $0.cast(to: .float32) }
    }

    private func isZero(_ x: Tensor) -> Tensor { x.detached.cast(to: .float32).isEqual(to: Tensor(scalar: Float(0))) }

    private func broadcastable(_ name: String, to shape: [Int]) throws -> Tensor? {
        guard has(name) else { return nil }
        let value = try tensor(name, .any)
        try require(value, broadcastsTo: shape, name)
        return value
    }

    /// Throws unless a tensor broadcasts to a shape.
    func require(_ tensor: Tensor, broadcastsTo shape: [Int], _ name: String) throws {
        let fits =
            tensor.rank <= shape.count
            && zip(tensor.shape.reversed(), shape.reversed()).allSatisfy { $0 == 1 || $0 == $1 }
        guard fits else {
            throw ModelError(.invalidInput, "'\(name)' of shape \(tensor.shape) must broadcast to \(shape).")
        }
    }

    /// A flag among the arguments, false by default.
    func flag(_ name: String) throws -> Bool { try arguments.bool(name, default: false) }
}

extension JSONFields {
    /// The member's own fields, which must be of one of these classes; `nil` when it is missing.
    func part(_ key: String, oneOf classes: [String]) throws -> JSONFields? {
        guard let fields = try optionalFields(key) else { return nil }
        _ = try fields.string("class", oneOf: classes)
        return fields
    }

    /// A part that must be there.
    func requiredPart(_ key: String, oneOf classes: [String]) throws -> JSONFields {
        guard let fields = try part(key, oneOf: classes) else {
            throw mismatch(key, mustBe: "an object with 'class' \(classes.joined(separator: " or "))")
        }
        return fields
    }

    /// The same without the member `class`.
    func withoutClass() -> JSONFields {
        JSONFields(JSONObject(object.members.filter { $0.key != "class" }.map { ($0.key, $0.value) }), source: source)
    }

    /// Rejects members that the class does not take; `class` itself is fine.
    func accept(_ known: String...) throws { try rejectUnknown(known: known + ["class"]) }

    /// A share in `0..<1`.
    func share(_ key: String, default fallback: Double) throws -> Double {
        let value = try double(key, default: fallback)
        guard (0..<1).contains(value) else { throw mismatch(key, mustBe: "at least 0 and less than 1") }
        return value
    }

    /// A positive number.
    func positive(_ key: String, default fallback: Double) throws -> Double {
        let value = try double(key, default: fallback)
        guard value > 0 else { throw mismatch(key, mustBe: "positive") }
        return value
    }

    /// A size that must be there, or has a default.
    func size(_ key: String, default fallback: Int? = nil) throws -> Int {
        try integer(key, in: 1...(1 << 20), default: fallback)
    }

    /// Three sizes, given as one number or as a list.
    func window(_ key: String, axes: Int, default fallback: Int? = nil) throws -> [Int] {
        if let fallback, !has(key) { return [Int](repeating: fallback, count: axes) }
        let sizes = object[key]?.integerValue.map { [Int](repeating: $0, count: axes) } ?? (try? integers(key)) ?? []
        guard sizes.count == axes, sizes.allSatisfy({ (1...64).contains($0) }) else {
            throw mismatch(key, mustBe: "a size or \(axes) sizes from 1 to 64")
        }
        return sizes
    }

    /// Throws unless `divisor` divides the member's value.
    func require(_ key: String, _ value: Int, dividesBy divisor: Int, _ meaning: String) throws {
        guard value % divisor == 0 else { throw mismatch(key, mustBe: "divisible by \(meaning), \(divisor)") }
    }
}
