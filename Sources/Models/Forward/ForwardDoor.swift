// The door for parity and for feature extraction: any model, layer, loss or function of TorchMultimodal by its name, with
// its keyword arguments and its state-dict keys, tensors in and tensors out. `mmgen forward` is this and files.

import Checkpoints
import JSON
import NeuralNets
import Tensors

/// Runs one call of a module or function that is named as in TorchMultimodal.
///
/// How a name becomes a call is said by adapters, one file per family (`Forward+Layers.swift`, `Forward+VQVAE.swift`, ...);
/// ``names`` lists them. Everything that a configuration or an input can get wrong throws before it reaches an operation.
public enum ForwardDoor {
    /// Whether the module trains in the call.
    public enum Mode: String, Sendable, CaseIterable {
        /// Inference.
        case eval
        /// Training: batch statistics, dropout, moving codebooks, the GPT's right shift.
        case train
    }

    /// What weights are rounded to before the call; arithmetic is `float32` in both cases.
    public enum Precision: String, Sendable, CaseIterable {
        /// Weights as they are.
        case f32
        /// Weights rounded to `bfloat16`.
        case bf16
    }

    /// One call.
    public struct Request: Sendable {
        /// The factory, class or function.
        public var name: String
        /// Its keyword arguments.
        public var config: JSONObject
        /// The state dict under the peer's keys; `nil` for first values from ``seed``.
        public var weights: [String: Tensor]?
        /// Tensors by argument (a list as `name.0`, `name.1`, ...), and `cotangent.FIELD` for gradients.
        public var inputs: [String: Tensor]
        /// The method.
        public var method: String
        /// The method's arguments that are not tensors.
        public var args: JSONObject
        /// Inference or training.
        public var mode: Mode
        /// Whether gradients are wanted.
        public var wantsGradients: Bool
        /// What weights are rounded to.
        public var precision: Precision
        /// Of first values, and of what is random in training.
        public var seed: UInt64
        /// What messages call the weights.
        public var weightsSource: String

        /// Creates a call.
        public init(
            name: String, config: JSONObject = [:], weights: [String: Tensor]? = nil, inputs: [String: Tensor],
            method: String = "forward", args: JSONObject = [:], mode: Mode = .eval, wantsGradients: Bool = false,
            precision: Precision = .f32, seed: UInt64 = 0, weightsSource: String = "the weights file"
        ) {
            self.name = name
            self.config = config
            self.weights = weights
            self.inputs = inputs
            self.method = method
            self.args = args
            self.mode = mode
            self.wantsGradients = wantsGradients
            self.precision = precision
            self.seed = seed
            self.weightsSource = weightsSource
        }
    }

    /// Every name that can be called, sorted.
    public static var names: [String] { builders.keys.sorted() }

    /// Makes the call.
    ///
    /// - Returns: outputs by field (nested with dots, lists by index, a bare tensor as `output`); with gradients also
    ///   `grad.KEY` for every parameter and `grad.input.ARGUMENT` for every real input (zeros where no output depends on
    ///   it); in training `buffer.KEY` for every buffer that changed.
    /// - Throws: ``ModelError`` for a name, a method or an input that does not fit, `CheckpointError` for a configuration or
    ///   weights that do not.
    public static func run(_ request: Request) throws -> [String: Tensor] {
        let target = try build(request)
        let method = try method(of: target, request)
        let frozen = target.module?.parameters.filter { !$0.parameter.isTrainable } ?? []
        // Tokenizers are frozen inside a GPT; whoever asks for gradients here means all of them.
        if request.wantsGradients { target.module?.setTrainable(true) }
        let (inputs, cotangents) = separated(request, tracksInputs: request.wantsGradients)
        let isTraining = request.mode == .train
        let context =
            isTraining ? ForwardContext(training: RandomKey(seed: request.seed).derived("forward")) : .inference
        let call = ForwardCall(
            inputs: inputs, arguments: JSONFields(request.args, source: "the arguments"), context: context)
        try method.rejectUnknown(call)
        /// What a call in training can change: buffers, and parameters that are not trained, such as momentum twins.
        func moving() -> [(key: String, value: Tensor)] {
            guard isTraining else { return [] }
            return (target.module?.buffers ?? []).map { ($0.key, $0.buffer.wrappedValue) }
                + frozen.map { ($0.key, $0.parameter.wrappedValue.detached) }
        }
        let before = moving()

        let outputs: [String: Tensor]
        var gradients: [String: Tensor] = [:]
        if request.wantsGradients {
            outputs = try method.body(call).flattened()
            gradients = try pullback(outputs, cotangents, inputs, target.module)
        } else {
            outputs = try withoutGradients { try method.body(call) }.flattened()
        }

        var result = outputs.mapValues { $0.detached.contiguous() }
        result.merge(gradients) { first, _ in first }
        for (old, new) in zip(before, moving()) where !hasSameBits(old.value, new.value) {
            result["buffer.\(new.key)"] = new.value.contiguous()
        }
        return result
    }

    /// The module that a name and its keyword arguments describe, with its weights in place.
    ///
    /// - Parameters:
    ///   - name: one of ``names``.
    ///   - config: the factory's keyword arguments.
    ///   - weights: the state dict; `nil` for first values from `seed`.
    /// - Throws: like ``run(_:)``, and ``ModelError`` for a function, which has no module.
    public static func module(
        _ name: String, config: JSONObject, weights: [String: Tensor]? = nil, seed: UInt64 = 0
    ) throws -> Module {
        let request = Request(name: name, config: config, weights: weights, inputs: [:], seed: seed)
        guard let module = try build(request).module else {
            throw ModelError(.unknownModel, "'\(name)' is a function; only modules hold weights.")
        }
        return module
    }

    /// The target with its weights in place.
    static func build(_ request: Request) throws -> ForwardTarget {
        guard let builder = builders[request.name] else {
            throw ModelError(
                .unknownModel, "There is nothing named '\(request.name)'; there are: \(names.joined(separator: ", ")).")
        }
        let fields = JSONFields(request.config, source: "the configuration of '\(request.name)'")
        let key = RandomKey(seed: request.seed).derived("initialization")
        var target = try Initialization.skipped { try builder(fields, key) }
        try target.module?.requireMemory(for: "A '\(request.name)' of these arguments")
        if let weights = request.weights {
            let match = try StateDictMatcher(renames: target.module?.renames ?? []).match(
                entries(target.module), with: weights, source: request.weightsSource)
            try target.module?.assign(match.tensors)
        } else {
            target = try builder(fields, key)
        }
        try round(target.module, request.precision)
        return target
    }

    /// The method that a call names.
    static func method(of target: ForwardTarget, _ request: Request) throws -> ForwardMethod {
        guard let method = target.methods[request.method] else {
            throw ModelError(
                .unknownMethod,
                "'\(request.name)' has no method '\(request.method)'; it has: "
                    + target.methods.keys.sorted().joined(separator: ", ") + ".")
        }
        return method
    }

    /// What a state dict must hold for a module.
    private static func entries(_ module: Module?) -> [StateDictMatcher.Entry] {
        guard let module else { return [] }
        return (module.parameters + module.aliases).map {
            StateDictMatcher.Entry($0.key, shape: $0.parameter.wrappedValue.shape)
        }
            + module.buffers.map {
                StateDictMatcher.Entry($0.key, shape: $0.buffer.wrappedValue.shape, dtype: $0.buffer.wrappedValue.dtype)
            }
    }

    private static func round(_ module: Module?, _ precision: Precision) throws {
        guard let module, precision == .bf16 else { return }
        try module.assign(
            module.stateDictionary.mapValues {
                $0.dtype == .float32 ? $0.cast(to: .bfloat16).cast(to: .float32) : $0
            })
    }

    /// The inputs, as leaves of the tape where their gradients are wanted, and the cotangents.
    static func separated(
        _ request: Request, tracksInputs: Bool
    ) -> (inputs: [String: Tensor], cotangents: [String: Tensor]) {
        var (inputs, cotangents): ([String: Tensor], [String: Tensor]) = ([:], [:])
        for (name, tensor) in request.inputs {
            let value = tensor.dtype.isFloatingPoint ? tensor.detached.cast(to: .float32) : tensor
            if name.hasPrefix("cotangent.") {
                cotangents[String(name.dropFirst("cotangent.".count))] = value
            } else {
                inputs[name] = tracksInputs && value.dtype.isDifferentiable ? value.tracked() : value
            }
        }
        return (inputs, cotangents)
    }

    /// The gradients of the sum over all outputs of (output x cotangent).
    private static func pullback(
        _ outputs: [String: Tensor], _ cotangents: [String: Tensor], _ inputs: [String: Tensor], _ module: Module?
    ) throws -> [String: Tensor] {
        let found = gradients(of: try pairs(outputs, cotangents))
        var result: [String: Tensor] = [:]
        for (key, parameter) in module?.parameters ?? [] {
            result["grad.\(key)"] =
                found[parameter.wrappedValue]?.contiguous() ?? Tensor.zeros(parameter.wrappedValue.shape)
        }
        for (name, input) in inputs where input.dtype.isDifferentiable {
            result["grad.input.\(name)"] = found[input]?.contiguous() ?? Tensor.zeros(input.shape)
        }
        return result
    }

    /// Each cotangent with the output it belongs to.
    static func pairs(_ outputs: [String: Tensor], _ cotangents: [String: Tensor]) throws -> [(Tensor, Tensor)] {
        var pairs: [(Tensor, Tensor)] = []
        for (field, cotangent) in cotangents.sorted(by: { $0.key < $1.key }) {
            guard let output = outputs[field] else {
                throw ModelError(
                    .invalidInput,
                    "'cotangent.\(field)' belongs to no output; there are: "
                        + outputs.keys.sorted().joined(separator: ", ") + ".")
            }
            guard output.dtype == .float32, cotangent.dtype == .float32, output.shape == cotangent.shape else {
                throw ModelError(
                    .invalidInput,
                    "'cotangent.\(field)' is \(cotangent.dtype.rawValue) \(cotangent.shape), and the output is "
                        + "\(output.dtype.rawValue) \(output.shape); both must be real and of one shape.")
            }
            pairs.append((output, cotangent))
        }
        return pairs
    }

    private static func hasSameBits(_ a: Tensor, _ b: Tensor) -> Bool {
        a.shape == b.shape && a.dtype == b.dtype
            && a.withUnsafeBytes { x in b.withUnsafeBytes { y in x.elementsEqual(y) } }
    }
}
