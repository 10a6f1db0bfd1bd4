// Encoders of channels, fusions, late fusions and two towers.

import Checkpoints
import NeuralNets
import Tensors

extension ForwardDoor {
    static let fusions: [String: ForwardBuilder] = lateFusions.merging(fusionModules) { first, _ in first }
        .merging(channelEncoders) { first, _ in first }

    private static let fusionModules: [String: ForwardBuilder] = Dictionary(
        uniqueKeysWithValues: FusionPart.classes.map { name in
            (
                name,
                { @Sendable fields, key in
                    let fusion = try FusionPart.read(name, fields, random: key)
                    return ForwardTarget(fusion, inputs: ["embeddings.*"]) { call in
                        var embeddings: [String: Tensor] = [:]
                        for channel in call.names(below: "embeddings") {
                            embeddings[channel] = try call.real("embeddings.\(channel)", .any)
                        }
                        try fusion.requireFit(embeddings)
                        return .tensor(fusion(embeddings, call.context))
                    }
                }
            )
        })

    private static let channelEncoders: [String: ForwardBuilder] = [
        "EmbeddingEncoder": "x", "WeightedEmbeddingEncoder": "weights", "CNNEncoder": "x", "LSTMEncoder": "x",
        "MILEncoder": "x",
    ].reduce(into: [:]) { table, entry in
        let (name, input) = entry
        table[name] = { fields, key in
            let layer = try LayerPart.read(fields.withClass(name), inputs: nil, random: key).layer
            return ForwardTarget(layer, inputs: [input]) { call in
                .tensor(layer(try call.input(input, for: layer), call.context))
            }
        }
    }

    private static let lateFusions: [String: ForwardBuilder] = [
        "LateFusion": { fields, key in try lateFusion(fields, key).forwardTarget },
        "TwoTower": { fields, key in
            try fields.accept("tower_id_to_tower", "tower_fusion", "shared_tower_id_to_channel_mapping")
            let parts = try fields.fields("tower_id_to_tower")
            var towers: [(name: String, tower: LateFusion)] = []
            for name in parts.object.keys {
                try parts.requireName(name)
                // A tower's name in the place of a tower: the two are one.
                if let other = parts.object[name]?.stringValue {
                    guard let tower = towers.first(where: { $0.name == other })?.tower else {
                        throw parts.mismatch(name, mustBe: "a LateFusion, or the name of the first tower")
                    }
                    towers.append((name, tower))
                } else {
                    let part = try parts.requiredPart(name, oneOf: ["LateFusion"])
                    towers.append((name, try lateFusion(part, key.derived("tower", towers.count))))
                }
            }
            guard let fusion = try LayerPart.read(fields, "tower_fusion", inputs: nil, random: key.derived("fusion"))
            else { throw fields.mismatch("tower_fusion", mustBe: "an object with 'class'") }
            return try TwoTower(towers: towers, fusion: fusion.layer, channels: try channels(fields)).forwardTarget
        },
    ]

    private static func lateFusion(_ fields: JSONFields, _ key: RandomKey) throws -> LateFusion {
        try fields.accept("encoders", "fusion_module", "head_module")
        let parts = try fields.fields("encoders")
        var encoders: [String: any Layer] = [:]
        for name in parts.object.keys {
            try parts.requireName(name)
            encoders[name] = try LayerPart.read(
                parts, name, inputs: nil, random: key.derived("encoder", encoders.count))?
                .layer
        }
        guard !encoders.isEmpty else { throw fields.mismatch("encoders", mustBe: "an object with an encoder or more") }
        let fusion = try fields.requiredPart("fusion_module", oneOf: FusionPart.classes)
        guard let head = try LayerPart.read(fields, "head_module", inputs: nil, random: key.derived("head")) else {
            throw fields.mismatch("head_module", mustBe: "an object with 'class'")
        }
        return LateFusion(
            encoders: encoders,
            fusion: try FusionPart.read(fusion.string("class"), fusion, random: key.derived("fusion")), head: head.layer
        )
    }

    private static func channels(_ fields: JSONFields) throws -> [String: [String: String]]? {
        guard let towers = try fields.optionalFields("shared_tower_id_to_channel_mapping") else { return nil }
        var mapping: [String: [String: String]] = [:]
        for tower in towers.object.keys {
            let names = try towers.fields(tower)
            for name in names.object.keys { mapping[tower, default: [:]][name] = try names.string(name) }
        }
        return mapping
    }
}

extension LateFusion: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["modalities.*"]) { [self] call in
            .tensor(try self(try inputs(call, below: "modalities") { $0 }, call.context))
        }
    }

    /// What the encoders read, each from the input of some name.
    func inputs(
        _ call: ForwardCall, below argument: String, named name: (String) -> String
    ) throws -> [String: Tensor] {
        var inputs: [String: Tensor] = [:]
        for (modality, layer) in encoders {
            let channel = name(modality)
            guard call.has("\(argument).\(channel)") else { continue }
            inputs[channel] = try call.input("\(argument).\(channel)", for: layer)
        }
        return inputs
    }
}

extension TwoTower: ForwardCallable {
    var forwardTarget: ForwardTarget {
        ForwardTarget(self, inputs: ["channel_to_input.*"]) { [self] call in
            var read: [String: Tensor] = [:]
            for (name, tower) in towers {
                let more = try tower.inputs(call, below: "channel_to_input") { input(of: name, as: $0) }
                read.merge(more) { first, _ in first }
            }
            let output = try self(read, call.context)
            return .fields([
                ("output", .tensor(output.output)),
                (
                    "tower_embeddings",
                    .fields(output.towerEmbeddings.map { ($0.tower, .some(.tensor($0.embedding))) })
                ),
            ])
        }
    }
}
