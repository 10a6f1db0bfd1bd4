import Checkpoints
import NeuralNets
import Tensors

/// Something the door can call: a module with its methods, or a function.
struct ForwardTarget {
    /// Where weights go; `nil` for functions and layers without any.
    let module: Module?
    /// The methods by the peer's names.
    let methods: [String: ForwardMethod]

    init(_ module: Module? = nil, methods: [String: ForwardMethod]) {
        self.module = module
        self.methods = methods
    }

    /// A target whose only method is `forward`.
    init(
        _ module: Module? = nil, inputs: [String], arguments: [String] = [],
        _ body: @escaping (ForwardCall) throws -> ForwardValue
    ) {
        self.init(module, methods: ["forward": ForwardMethod(inputs: inputs, arguments: arguments, body)])
    }

    /// A layer of one real input.
    init<Kind: Layer>(_ layer: Kind, input: String = "x", _ rule: ShapeRule) {
        self.init(layer, inputs: [input]) { .tensor(layer(try $0.real(input, rule), $0.context)) }
    }
}

/// A model that the door can call by its methods once ``ModelRegistry`` has built it.
protocol ForwardCallable: Module {
    var forwardTarget: ForwardTarget { get }
}

/// Makes a target from keyword arguments.
typealias ForwardBuilder = @Sendable (JSONFields, RandomKey) throws -> ForwardTarget

/// One method: what it takes and what it does.
struct ForwardMethod {
    let inputs: [String]
    let arguments: [String]
    let body: (ForwardCall) throws -> ForwardValue

    /// - Parameters:
    ///   - inputs: the names of tensor arguments; a list, or a list of lists, is named without its indices;
    ///     `name.*` stands for parts of any name.
    ///   - arguments: the names of the other arguments.
    init(inputs: [String], arguments: [String] = [], _ body: @escaping (ForwardCall) throws -> ForwardValue) {
        self.inputs = inputs
        self.arguments = arguments
        self.body = body
    }

    /// A misspelt name must not pass silently.
    func rejectUnknown(_ call: ForwardCall) throws {
        for name in call.inputs.keys.sorted() {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            if inputs.contains(name) || inputs.contains(where: { $0.hasSuffix(".*") && name.hasPrefix($0.dropLast()) })
                || (parts.count > 1 && parts.dropFirst().allSatisfy { Int($0) != nil }
                    && inputs.contains(String(parts[0])))
            {
                continue
            }
            throw ModelError(
                .invalidInput, "'\(name)' is not an input; there are: \(inputs.joined(separator: ", ")).")
        }
        try call.arguments.rejectUnknown(known: arguments + inputs)
        if let tensor = inputs.first(where: { call.arguments.has($0) }) {
            throw ModelError(.invalidInput, "'\(tensor)' is a tensor; give it among the inputs.")
        }
    }
}

/// What a method returns: tensors, nested as the peer nests them.
indirect enum ForwardValue {
    case tensor(Tensor)
    case list([ForwardValue])
    case fields([(String, ForwardValue?)])

    /// A list of tensors.
    static func tensors(_ tensors: [Tensor]) -> ForwardValue { .list(tensors.map { .tensor($0) }) }

    /// Tensors by dotted name; a bare tensor is `output`.
    func flattened() -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        collect("", into: &result)
        return result
    }

    private func collect(_ prefix: String, into result: inout [String: Tensor]) {
        func below(_ key: String) -> String { prefix.isEmpty ? key : "\(prefix).\(key)" }
        switch self {
        case .tensor(let tensor): result[prefix.isEmpty ? "output" : prefix] = tensor
        case .list(let values):
            for (index, value) in values.enumerated() { value.collect(below("\(index)"), into: &result) }
        case .fields(let fields):
            for (key, value) in fields { value?.collect(below(key), into: &result) }
        }
    }
}
