import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors

/// Which optimizer moves the parameters, and with which numbers; keys as PyTorch and TorchMultimodal name them.
public struct OptimizerSettings: Sendable, Equatable {
    /// The optimizers there are.
    public enum Kind: String, Sendable, CaseIterable {
        case adamw, adam, sgd
        /// AdamW with states of few bits.
        case anyPrecision = "anyprecision_adamw"
    }

    /// Which one.
    public var kind = Kind.adamw
    /// The decay of weights: decoupled with AdamW, part of the gradient with Adam and SGD.
    public var weightDecay = 0.01
    /// Adam's decay rates.
    public var beta1 = 0.9
    public var beta2 = 0.999
    /// Added to the root of Adam's second moment.
    public var epsilon = 1e-8
    /// SGD's momentum, and whether it is Nesterov's.
    public var momentum = 0.9
    public var isNesterov = false
    /// What each layer's rate is multiplied by for every layer above it. 1: all layers learn alike.
    public var layerDecay = 1.0
    /// What the rate of parts is multiplied by, each named by a run of components of its parameters' names. The longest
    /// name that fits a parameter counts.
    public var rateShares: [RateShare] = []
    /// Whether weights that are vectors (biases, and what norms scale and shift by) decay like all others.
    public var decaysVectors = true
    /// With `anyprecision_adamw`: whether what is lost to rounding is carried on.
    public var usesKahanSummation = false
    /// With `anyprecision_adamw`: what its states are kept as.
    public var momentumType = DType.float32
    public var varianceType = DType.bfloat16

    /// AdamW as PyTorch has it.
    public init() {}

    /// A part of a model that learns at a rate of its own.
    public struct RateShare: Sendable, Equatable {
        /// Such as `text_encoder` or `encoder.layers.0`.
        public var part: String
        /// Of the learning rate.
        public var share: Double

        /// A part's share.
        public init(_ part: String, _ share: Double) { (self.part, self.share) = (part, share) }

        /// Whether a parameter belongs to the part: `text_encoder` is in `model.text_encoder.embeddings.weight`.
        func holds(_ key: String) -> Bool { ".\(key).".contains(".\(part).") }
    }

    static let keys = [
        "optimizer", "weight_decay", "beta1", "beta2", "epsilon", "momentum", "nesterov", "layer_decay",
        "rate_shares", "decays_vectors", "use_kahan_summation", "momentum_dtype", "variance_dtype",
    ]

    mutating func read(_ fields: JSONFields) throws {
        let name = try fields.string("optimizer", oneOf: Kind.allCases.map(\.rawValue), default: kind.rawValue)
        kind = Kind(rawValue: name) ?? kind
        weightDecay = try fields.double("weight_decay", default: weightDecay)
        beta1 = try fields.double("beta1", default: beta1)
        beta2 = try fields.double("beta2", default: beta2)
        epsilon = try fields.double("epsilon", default: epsilon)
        momentum = try fields.double("momentum", default: momentum)
        isNesterov = try fields.bool("nesterov", default: isNesterov)
        layerDecay = try fields.double("layer_decay", default: layerDecay)
        if let shares = try fields.optionalFields("rate_shares") {
            rateShares = try shares.object.members.map { part, value in
                guard let share = value.doubleValue, (0...100).contains(share) else {
                    throw shares.mismatch(part, mustBe: "a number between 0.0 and 100.0")
                }
                return RateShare(part, share)
            }
        }
        decaysVectors = try fields.bool("decays_vectors", default: decaysVectors)
        usesKahanSummation = try fields.bool("use_kahan_summation", default: usesKahanSummation)
        func type(_ key: String, _ value: DType) throws -> DType {
            let types: [DType] = [.float32, .bfloat16]
            let name = try fields.string(key, oneOf: types.map(\.rawValue), default: value.rawValue)
            return types.first { $0.rawValue == name } ?? value
        }
        momentumType = try type("momentum_dtype", momentumType)
        varianceType = try type("variance_dtype", varianceType)
        for (key, value, range) in [
            ("weight_decay", weightDecay, 0.0...10.0), ("beta1", beta1, 0...1), ("beta2", beta2, 0...1),
            ("epsilon", epsilon, 0...1), ("momentum", momentum, 0...1), ("layer_decay", layerDecay, 0...1),
        ] where !range.contains(value) {
            throw fields.mismatch(key, mustBe: "between \(range.lowerBound) and \(range.upperBound)")
        }
        guard !isNesterov || momentum > 0 else { throw fields.mismatch("nesterov", mustBe: "false without a momentum") }
    }

    var members: [(String, JSONValue)] {
        [
            ("optimizer", .string(kind.rawValue)), ("weight_decay", .number(weightDecay)), ("beta1", .number(beta1)),
            ("beta2", .number(beta2)), ("epsilon", .number(epsilon)), ("momentum", .number(momentum)),
            ("nesterov", .bool(isNesterov)), ("layer_decay", .number(layerDecay)),
            (
                "rate_shares",
                rateShares.isEmpty ? .null : .object(JSONObject(rateShares.map { ($0.part, .number($0.share)) }))
            ),
            ("decays_vectors", .bool(decaysVectors)), ("use_kahan_summation", .bool(usesKahanSummation)),
            ("momentum_dtype", .string(momentumType.rawValue)),
            ("variance_dtype", .string(varianceType.rawValue)),
        ]
    }

    /// What each parameter of a model learns by.
    func rules(_ model: Module) -> [String: ParameterRule] {
        let parameters = model.parameters
        let depths = LayerDepths(parameters.map(\.key))
        return Dictionary(
            parameters.map { key, parameter in
                let layers = layerDecay == 1 ? 1 : pow(layerDecay, Double(depths.deepest - depths.depth(key)))
                let share = rateShares.filter { $0.holds(key) }.max { $0.part.count < $1.part.count }?.share
                let isVector = parameter.wrappedValue.rank < 2 || key.hasSuffix("bias")
                return (key, ParameterRule(rateShare: layers * (share ?? 1), decays: decaysVectors || !isVector))
            }, uniquingKeysWith: { first, _ in first })
    }

    /// - Throws: ``TrainingError`` for a rate of a part that the model does not have.
    func check(_ model: Module) throws {
        let keys = model.parameters.map(\.key)
        if let stranger = rateShares.first(where: { share in !keys.contains { share.holds($0) } }) {
            let parts = Set(keys.map { $0.split(separator: ".").prefix(2).joined(separator: ".") }).sorted()
            throw TrainingError(
                .invalidConfiguration,
                "training.rate_shares names '\(stranger.part)', which is no part of the model; its parameters begin "
                    + "with \(parts.prefix(12).joined(separator: ", "))\(parts.count > 12 ? " and others" : "").")
        }
    }

    /// The optimizer of a module.
    ///
    /// - Parameter whole: the rules of the model, if the module holds pieces of it only.
    func make(_ module: Module, whole: [String: ParameterRule]? = nil) -> any Optimizer {
        let all = whole ?? self.rules(module)
        let rules: ParameterRules = { key, _ in all[key] ?? ParameterRule() }
        switch kind {
        case .adamw, .adam:
            return AdamW(
                module, betas: (beta1, beta2), epsilon: epsilon, weightDecay: weightDecay, couplesDecay: kind == .adam,
                rules: rules)
        case .sgd:
            return SGD(module, momentum: momentum, isNesterov: isNesterov, weightDecay: weightDecay, rules: rules)
        case .anyPrecision:
            return AnyPrecisionAdamW(
                module, betas: (beta1, beta2), epsilon: epsilon, weightDecay: weightDecay,
                usesKahanSummation: usesKahanSummation, momentum: momentumType, variance: varianceType, rules: rules)
        }
    }
}

/// How far up in a stack of layers a parameter stands: embeddings below the first layer, everything else above the last
/// (Clark et al. 2020, arXiv:2003.10555, section on layer-wise rates).
struct LayerDepths {
    /// The depth above the last layer.
    let deepest: Int

    init(_ keys: [String]) { deepest = (keys.compactMap(Self.layer).max() ?? -1) + 2 }

    func depth(_ key: String) -> Int {
        if let layer = Self.layer(key) { return layer + 1 }
        return key.contains("embedding") || key.contains("sos") ? 0 : deepest
    }

    /// The number behind the first part of a key that names a stack of layers.
    private static func layer(_ key: String) -> Int? {
        let parts = key.split(separator: ".")
        return zip(parts, parts.dropFirst()).lazy
            .filter { ["layer", "layers", "blocks", "resblocks"].contains($0.0) }
            .compactMap { Int($0.1) }.first
    }
}
