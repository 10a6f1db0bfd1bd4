import Tensors

/// A part of a model: something with parameters, buffers and smaller parts, each under its state-dict key.
///
/// Parts are found by their declarations: a property's key is its name in snake case (properties are named so that this
/// is the peer's key; ``Part`` gives another), an array's elements are keyed by index. The walk is made once and kept, so
/// the set of parts must not change after the initializer returns.
///
/// Modules are plain reference types, confined to the task that uses them.
open class Module {
    private var cachedState: ModuleState?

    /// Creates a module without parts.
    public init() {}

    /// The parts of a module whose keys are not property names, such as ``Sequential``; `nil` to look at the properties.
    open var explicitParts: [(key: String, part: Any)]? { nil }

    /// Called after parameters or buffers were set from outside, so that what was derived from them can be dropped.
    open func stateDidChange() {}

    /// Called for every module below one that is packed for inference, parts after the whole.
    open func packWeights() {}

    /// Every parameter, buffer and module below this module, in declaration order.
    final var state: ModuleState {
        if let cachedState { return cachedState }
        var state = ModuleState()
        collect(into: &state, prefix: "")
        // The module itself comes first; kept here it would keep itself alive.
        state.modules.removeFirst()
        cachedState = state
        return state
    }

    private func collect(into state: inout ModuleState, prefix: String) {
        state.modules.append((String(prefix.dropLast()), self))
        if let explicitParts {
            for (key, part) in explicitParts { Self.add(part, key: key, to: &state, prefix: prefix) }
            return
        }
        var mirrors: [Mirror] = []
        var mirror: Mirror? = Mirror(reflecting: self)
        while let current = mirror, current.subjectType != Module.self {
            mirrors.append(current)
            mirror = current.superclassMirror
        }
        for child in mirrors.reversed().flatMap(\.children) {
            guard let label = child.label else { continue }
            let name = label.hasPrefix("_") ? String(label.dropFirst()) : label
            Self.add(child.value, key: snakeCase(name), to: &state, prefix: prefix)
        }
    }

    private static func add(_ value: Any, key: String, to state: inout ModuleState, prefix: String) {
        switch value {
        case let parameter as Parameter: state.add(parameter, under: prefix + (parameter.key ?? key))
        case let buffer as Buffer: state.buffers.append((prefix + (buffer.key ?? key), buffer))
        case let module as Module: module.collect(into: &state, prefix: prefix + key + ".")
        case let named as any NamedPart: add(named.anyValue, key: named.key, to: &state, prefix: prefix)
        case let list as [Module]:
            for (index, module) in list.enumerated() {
                module.collect(into: &state, prefix: "\(prefix)\(key).\(index).")
            }
        case let table as [(key: String, part: Any)]:
            for (inner, part) in table { add(part, key: "\(key).\(inner)", to: &state, prefix: prefix) }
        default:
            // An optional part that is absent reflects as an empty mirror; one that is present has a single child.
            let mirror = Mirror(reflecting: value)
            if mirror.displayStyle == .optional, let some = mirror.children.first {
                add(some.value, key: key, to: &state, prefix: prefix)
            }
        }
    }
}

/// What a walk over a module finds.
struct ModuleState {
    var parameters: [(key: String, parameter: Parameter)] = []
    /// Further keys of parameters that stand in more than one place.
    var aliases: [(key: String, parameter: Parameter)] = []
    var buffers: [(key: String, buffer: Buffer)] = []
    var modules: [(key: String, module: Module)] = []
    private var seen: Set<ObjectIdentifier> = []

    mutating func add(_ parameter: Parameter, under key: String) {
        if seen.insert(ObjectIdentifier(parameter)).inserted {
            parameters.append((key, parameter))
        } else {
            aliases.append((key, parameter))
        }
    }
}

/// `headCount` becomes `head_count`.
func snakeCase(_ name: String) -> String {
    var result = ""
    for character in name {
        if character.isUppercase {
            if !result.isEmpty { result.append("_") }
            result.append(Character(character.lowercased()))
        } else {
            result.append(character)
        }
    }
    return result
}

// MARK: - Parts

/// A learnable tensor of a module.
///
/// Reading the property gives the value as a leaf of the tape (unless the parameter is frozen), so whatever is computed
/// from it can be differentiated with respect to it.
@propertyWrapper
public final class Parameter {
    /// The state-dict key, where it differs from the property's name in snake case.
    public let key: String?
    /// Whether gradients flow to it and optimizers move it.
    public var isTrainable = true {
        didSet { wrappedValue = wrappedValue }
    }
    private var current: Tensor
    /// Keeps the value elsewhere, and brings it when it is read while it is away.
    private var keeper: (any ParameterKeeper)?
    private var isAway = false
    /// Makes the value whenever it is read, instead of ``current``.
    private var source: (() -> Tensor)?

    /// A parameter with its first value.
    public init(wrappedValue: Tensor, key: String? = nil) {
        self.key = key
        current = wrappedValue.detached.tracked()
    }

    /// The value, on the tape while trainable.
    public var wrappedValue: Tensor {
        get {
            if isAway { keeper?.bring(self) }
            return source?() ?? current
        }
        set {
            (source, keeper, isAway) = (nil, nil, false)
            current = isTrainable ? newValue.detached.tracked() : newValue.detached
        }
    }

    /// Gives up the value's memory: from now on it is made anew whenever it is read, until it is set.
    ///
    /// Meanwhile the tape does not follow it.
    public func derive(from source: @escaping () -> Tensor) {
        self.source = { source().detached }
        current = Tensor.zeros([0])
    }

    /// The number of elements, wherever they are.
    var count: Int { source?().count ?? current.count }

    /// The leaf of the tape that stands for the parameter, whether or not its value is here.
    public var leaf: Tensor { current }

    /// Gives up the value's memory: from now on whoever keeps it is asked for it when it is read.
    ///
    /// Unlike with ``derive(from:)`` the tape follows it, as the same leaf.
    public func sendAway(to keeper: any ParameterKeeper) {
        (self.keeper, isAway) = (keeper, true)
        current = current.hollow
    }

    /// Takes the value back, for as long as it is not sent away again.
    public func take(_ value: Tensor) {
        isAway = false
        current = current.holding(value.detached)
    }

    /// Moves a value that has left its range. Unlike setting it this may be done in the middle of a pass: the leaf of the
    /// tape stays the same.
    public func correct(to value: Tensor) {
        current = current.holding(value.detached)
        keeper?.correct(self, to: value.detached)
    }

    /// Gives up the value's memory for good; it is empty from now on, until it is set.
    func giveUp() {
        (source, keeper, isAway) = (nil, nil, false)
        current = Tensor.zeros([0])
    }

    /// Whether the value is made whenever it is read.
    public var isDerived: Bool { source != nil }

    /// The parameter itself.
    public var projectedValue: Parameter { self }

    /// Changes the value in place: nothing else may hold its memory meanwhile, or it is copied.
    public func update(_ body: (inout Tensor) -> Void) {
        var value = wrappedValue.detached
        current = Tensor.zeros([0])
        body(&value)
        wrappedValue = value
    }
}

/// Keeps the values of parameters elsewhere than in their module.
public protocol ParameterKeeper: AnyObject {
    /// Gives a parameter its value (``Parameter/take(_:)``), for it is about to be read.
    func bring(_ parameter: Parameter)
    /// Keeps another value of a parameter that is not away.
    func correct(_ parameter: Parameter, to value: Tensor)
}

/// A part of a model that ``ForwardContext/checkpointing(_:_:)`` computes twice: its parameters are needed together, and
/// not before or after.
public protocol CheckpointedBlock: Module {}

/// A tensor of a module that is saved but not learned by gradients: running statistics, a codebook.
@propertyWrapper
public final class Buffer {
    /// The state-dict key, where it differs from the property's name in snake case.
    public let key: String?
    /// The value, never on the tape.
    public var wrappedValue: Tensor {
        didSet { wrappedValue = wrappedValue.detached }
    }

    /// A buffer with its first value.
    public init(wrappedValue: Tensor, key: String? = nil) {
        self.key = key
        self.wrappedValue = wrappedValue.detached
    }

    /// The buffer itself.
    public var projectedValue: Buffer { self }
}

/// Gives a part of a module a key that its property's name does not spell.
@propertyWrapper
public struct Part<Value> {
    /// The part.
    public let wrappedValue: Value
    /// The key.
    public let key: String

    /// A part under a key.
    public init(wrappedValue: Value, _ key: String) {
        self.wrappedValue = wrappedValue
        self.key = key
    }
}

private protocol NamedPart {
    var key: String { get }
    var anyValue: Any { get }
}

extension Part: NamedPart {
    fileprivate var anyValue: Any { wrappedValue }
}

// MARK: - State

extension Module {
    /// Every parameter with its state-dict key, in declaration order; one that several parts share is here once, under its
    /// first key.
    public final var parameters: [(key: String, parameter: Parameter)] { state.parameters }
    /// The further state-dict keys of parameters that several parts share.
    public final var aliases: [(key: String, parameter: Parameter)] { state.aliases }
    /// Every buffer with its state-dict key, in declaration order.
    public final var buffers: [(key: String, buffer: Buffer)] { state.buffers }
    /// This module (key "") and every module below it, with their keys.
    public final var modules: [(key: String, module: Module)] { [("", self)] + state.modules }

    /// The values of all parameters and buffers by key; a shared parameter's under each of its keys.
    public final var stateDictionary: [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (key, parameter) in parameters + aliases { result[key] = parameter.wrappedValue.detached }
        for (key, buffer) in buffers { result[key] = buffer.wrappedValue }
        return result
    }

    /// The number of learnable numbers.
    public final var parameterCount: Int { parameters.reduce(0) { $0 + $1.parameter.count } }

    /// Refuses a module that is larger than the machine's memory.
    ///
    /// - Parameters:
    ///   - what: names it in the message.
    ///   - isTrained: whether the gradient, AdamW's two moments and the running average of each trained parameter count too.
    /// - Throws: ``TensorError`` with code `.invalidSize`.
    public final func requireMemory(for what: String, isTrained: Bool = false) throws {
        let held = 4 * (Double(parameterCount) + buffers.reduce(0.0) { $0 + Double($1.buffer.wrappedValue.count) })
        let moved = parameters.reduce(0.0) { sum, entry in
            entry.parameter.isTrainable ? sum + 4 * Double(entry.parameter.wrappedValue.count) : sum
        }
        try MachineMemory.require(isTrained ? held + 4 * moved : held, for: what)
    }

    /// Sets parameters and buffers by key; keys that are not this module's are left alone.
    ///
    /// Values are cast to the element type the module declares.
    /// - Throws: ``TensorError`` with code `.shapeMismatch` when a value has another shape, `.invalidValue` when the keys of
    ///   a shared parameter are given different values; nothing is changed then.
    public final func assign(_ values: [String: Tensor]) throws {
        try requireAgreement(values)
        // Only what is given is looked at: the values of other parameters may be far away.
        let expected =
            (parameters + aliases).filter { values[$0.key] != nil }.map { ($0.key, $0.parameter.wrappedValue.shape) }
            + buffers.map { ($0.key, $0.buffer.wrappedValue.shape) }
        for (key, shape) in expected {
            if let value = values[key], value.shape != shape {
                throw TensorError(
                    .shapeMismatch, "'\(key)' has shape \(value.shape) where the model has \(shape).")
            }
        }
        for (key, parameter) in parameters + aliases {
            if let value = values[key] { parameter.wrappedValue = value.cast(to: parameter.wrappedValue.dtype) }
        }
        for (key, buffer) in buffers {
            if let value = values[key] { buffer.wrappedValue = value.cast(to: buffer.wrappedValue.dtype) }
        }
        for (_, module) in modules { module.stateDidChange() }
    }

    /// Throws unless the values given for the keys of each shared parameter are equal.
    private func requireAgreement(_ values: [String: Tensor]) throws {
        for (key, parameter) in aliases {
            guard let value = values[key],
                let first = parameters.first(where: { $0.parameter === parameter })?.key, let other = values[first],
                value.shape == other.shape
            else { continue }
            let (a, b) = (value.cast(to: .float32).contiguous(), other.cast(to: .float32).contiguous())
            guard a.withUnsafeBytes({ x in b.withUnsafeBytes { y in x.elementsEqual(y) } }) else {
                throw TensorError(
                    .invalidValue, "'\(first)' and '\(key)' are one parameter of the model and must hold equal values.")
            }
        }
    }

    /// Gives up the memory of parameters, and of what was packed from them, ahead of the module's own end.
    ///
    /// What is given up computes nothing any more, until its parameters are set anew.
    ///
    /// - Parameter kept: the beginnings of keys that keep their values.
    public final func giveUpParameters(except kept: [String] = []) {
        func isGivenUp(_ key: String) -> Bool { !kept.contains { key.hasPrefix($0) } }
        for (key, parameter) in parameters where isGivenUp(key) { parameter.giveUp() }
        for (key, module) in modules where isGivenUp(key + ".") { module.stateDidChange() }
    }

    /// Sets whether every parameter below is trainable.
    public final func setTrainable(_ isTrainable: Bool) {
        for (_, parameter) in parameters { parameter.isTrainable = isTrainable }
    }
}

extension Module {
    /// Converts every floating-point parameter and buffer to another element type.
    public final func convert(to dtype: DType) {
        for (_, parameter) in parameters where parameter.wrappedValue.dtype.isFloatingPoint {
            parameter.wrappedValue = parameter.wrappedValue.detached.cast(to: dtype)
        }
        for (_, buffer) in buffers where buffer.wrappedValue.dtype.isFloatingPoint {
            buffer.wrappedValue = buffer.wrappedValue.cast(to: dtype)
        }
        for (_, module) in modules { module.stateDidChange() }
    }
}
