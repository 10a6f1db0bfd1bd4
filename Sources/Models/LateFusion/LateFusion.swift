// Models whose modalities meet late, after TorchMultimodal's models/late_fusion.py and models/two_tower.py.

import NeuralNets
import Tensors

/// An encoder for each modality, a fusion of what they make, and a head, keys `encoders.MODALITY`, `fusion_module`,
/// `head_module`.
public final class LateFusion: Module {
    /// The encoders in the order of their modalities' names.
    public let encoders: [(modality: String, layer: any Layer)]
    let fusionModule: any Fusion
    let headModule: any Layer

    /// A model composed from its parts.
    public init(encoders: [String: any Layer], fusion: any Fusion, head: any Layer) {
        self.encoders = encoders.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        fusionModule = fusion
        headModule = head
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        var parts: [(key: String, part: Any)] = [("fusion_module", fusionModule), ("head_module", headModule)]
        for (modality, layer) in encoders { parts.append(("encoders.\(modality)", layer)) }
        return parts
    }

    /// The names of the modalities, sorted.
    public var modalities: [String] { encoders.map(\.modality) }

    /// Encodes every modality, fuses and judges.
    ///
    /// - Parameter inputs: by modality; others than the model's are not looked at.
    /// - Throws: ``ModelError`` when a modality is missing, or when what the encoders make of the inputs does not fit the
    ///   fusion or the head.
    public func callAsFunction(_ inputs: [String: Tensor], _ context: ForwardContext) throws -> Tensor {
        var embeddings: [String: Tensor] = [:]
        for (modality, layer) in encoders {
            guard let input = inputs[modality] else {
                throw ModelError(
                    .invalidInput,
                    "'\(modality)' is missing in the input; the model reads \(modalities.joined(separator: ", ")).")
            }
            embeddings[modality] = layer(input, context)
        }
        try fusionModule.requireFit(embeddings)
        let fused = fusionModule(embeddings, context)
        try headModule.requireWidth(fused, "head")
        return headModule(fused, context)
    }
}

extension Fusion {
    /// - Throws: ``ModelError`` unless these vectors can be fused.
    func requireFit(_ embeddings: [String: Tensor]) throws {
        if let problem = problem(with: embeddings.mapValues(\.shape)) { throw ModelError(.invalidInput, problem) }
    }
}

extension Layer {
    /// - Throws: ``ModelError`` unless a layer whose width is known can read a tensor.
    func requireWidth(_ x: Tensor, _ name: String) throws {
        if (self as? MLP)?.hasBatchNorm == true, x.rank != 2 {
            throw ModelError(.invalidInput, "The \(name) reads vectors, [batch, width], and is given \(x.shape).")
        }
        guard let width = inputWidth(of: self), x.rank == 0 || x.size(-1) != width else { return }
        throw ModelError(
            .invalidInput, "The \(name) reads \(width) numbers, and is given \(x.shape): sizes of inputs decide that.")
    }
}

/// Two late fusions and a fusion of their results, keys `tower_id_to_tower.TOWER` and `tower_fusion`.
///
/// Both may be the same; then its values stand under both names in a state dict, as in the peer.
public final class TwoTower: Module {
    /// What a call returns.
    public struct Output {
        /// What the towers' fusion makes.
        public let output: Tensor
        /// What each tower makes, in the order of the towers.
        public let towerEmbeddings: [(tower: String, embedding: Tensor)]
    }

    /// The towers in the order they were given.
    public let towers: [(name: String, tower: LateFusion)]
    let towerFusion: any Layer
    private let channels: [String: [String: String]]

    /// A model composed from its parts.
    ///
    /// - Parameters:
    ///   - towers: two, by name; one tower under two names is shared.
    ///   - fusion: is given the towers' results side by side, `[batch, sum of widths]`.
    ///   - channels: for a tower of two that share one, which input is read as which of its modalities.
    /// - Throws: ``ModelError`` for another number of towers, and for `channels` without a shared tower.
    public init(
        towers: [(name: String, tower: LateFusion)], fusion: any Layer, channels: [String: [String: String]]? = nil
    ) throws {
        guard towers.count == 2 else {
            throw ModelError(.invalidInput, "Two tower needs 2 towers, but found \(towers.count) towers.")
        }
        guard channels == nil || towers[0].tower === towers[1].tower else {
            throw ModelError(.invalidInput, "Towers should be shared if a channel mapping is passed in.")
        }
        self.towers = towers
        towerFusion = fusion
        self.channels = channels ?? [:]
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        var parts: [(key: String, part: Any)] = [("tower_fusion", towerFusion)]
        for (name, tower) in towers { parts.append(("tower_id_to_tower.\(name)", tower)) }
        return parts
    }

    /// Which input a tower reads as one of its modalities.
    func input(of tower: String, as modality: String) -> String { channels[tower]?[modality] ?? modality }

    /// Applies both towers and fuses.
    ///
    /// - Parameter inputs: by channel.
    /// - Throws: ``ModelError`` when a channel is missing.
    public func callAsFunction(_ inputs: [String: Tensor], _ context: ForwardContext) throws -> Output {
        var results: [(tower: String, embedding: Tensor)] = []
        for (name, tower) in towers {
            var read: [String: Tensor] = [:]
            for modality in tower.modalities {
                let channel = input(of: name, as: modality)
                guard let tensor = inputs[channel] else {
                    throw ModelError(.invalidInput, "'\(channel)' is missing in the input of the tower '\(name)'.")
                }
                read[modality] = tensor
            }
            results.append((name, try tower(read, context)))
        }
        let embeddings = results.map(\.embedding)
        guard embeddings[0].shape.dropLast() == embeddings[1].shape.dropLast() else {
            throw ModelError(
                .invalidInput,
                "The towers' results \(embeddings[0].shape) and \(embeddings[1].shape) must agree but for the last axis."
            )
        }
        let joined = concatenated(embeddings, axis: -1)
        try towerFusion.requireWidth(joined, "towers' fusion")
        return Output(output: towerFusion(joined, context), towerEmbeddings: results)
    }
}
