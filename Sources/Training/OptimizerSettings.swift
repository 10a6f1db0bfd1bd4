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
    /// With `anyprecision_adamw`: whether what is lost to rounding is carried on.
    public var usesKahanSummation = false
    /// With `anyprecision_adamw`: what its states are kept as.
    public var momentumType = DType.float32
    public var varianceType = DType.bfloat16

    /// AdamW as PyTorch has it.
    public init() {}

    static let keys = [
        "optimizer", "weight_decay", "beta1", "beta2", "epsilon", "momentum", "nesterov", "layer_decay",
        "use_kahan_summation", "momentum_dtype", "variance_dtype",
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
            ("use_kahan_summation", .bool(usesKahanSummation)), ("momentum_dtype", .string(momentumType.rawValue)),
            ("variance_dtype", .string(varianceType.rawValue)),
        ]
    }

    /// The optimizer of a module.
    ///
    /// - Parameter keys: of the whole model, if the module holds a part of it only.
    func make(_ module: Module, keys: [String]? = nil) -> any Optimizer {
        let depths = LayerDepths(keys ?? module.parameters.map(\.key))
        let (decay, deepest) = (layerDecay, depths.deepest)
        let rules: ParameterRules = { key, _ in
            ParameterRule(rateShare: decay == 1 ? 1 : pow(decay, Double(deepest - depths.depth(key))))
        }
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
