// In how many bits a model directory is to be computed with. Linear weights may be stored in fewer: `config.json` says
// "weights": "int8", and beside a layer's `weight` stands `weight.scale`. "kv": "int8" says what keys and values are kept
// as (docs/FORMATS.md).

import Checkpoints
import NeuralNets
import Tensors

extension PretrainedModel {
    /// The member of `config.json` that says what linear weights are stored as.
    public static let weightsKey = "weights"
    /// The member of `config.json` that says what keys and values are to be kept as.
    public static let cacheKey = "kv"

    /// What a member of `config.json` names; `float32` when it is not there.
    static func kind<Kind: RawRepresentable & CaseIterable>(
        _ key: String, _ fields: JSONFields
    ) throws -> Kind where Kind.RawValue == String {
        let name = try fields.string(key, oneOf: Kind.allCases.map(\.rawValue), default: "float32")
        guard let kind = Kind(rawValue: name) else { preconditionFailure("\(name) was no \(Kind.self) after all") }
        return kind
    }

    /// What the linear weights of the model directory at a path are stored as, without reading them.
    public static func storedPrecision(at path: String) throws -> WeightPrecision {
        let source = path + "/config.json"
        return try kind(weightsKey, JSONFields(ModelDirectory.Configuration(path: source).extra, source: source))
    }

    /// Refuses a model directory whose weights are stored in fewer bits, where floats are needed.
    ///
    /// - Throws: ``ModelError`` with code `.invalidInput`.
    public static func requireFloats(at path: String) throws {
        guard try storedPrecision(at: path) != .float32 else { return }
        throw ModelError(
            .invalidInput,
            "The weights of \(path) are stored in fewer bits, for generation; 'mmgen convert --weights \(path) -o DIR' "
                + "makes floats of them.")
    }

    /// Takes the weights that are stored in fewer bits out of a state dict.
    ///
    /// Keys that are missing are left for the strict comparison of the rest to name.
    /// - Throws: ``CheckpointError`` with code `.invalidConfiguration` for a model without such layers, `.stateDictMismatch`
    ///   for weights that are not what the layer needs.
    static func reducedLayers(
        of module: Module, stored: WeightPrecision, weights: inout [String: Tensor], source: String, file: String
    ) throws -> [(key: String, layer: Linear, rows: WeightRows)] {
        guard stored != .float32 else { return [] }
        guard let gpt = module as? MultimodalGPT else {
            throw CheckpointError(
                .invalidConfiguration,
                "\(source): 'weights' is \"\(stored.rawValue)\", but only the weights of a GPT are stored in fewer bits."
            )
        }
        var result: [(key: String, layer: Linear, rows: WeightRows)] = []
        for (name, layer) in gpt.reducibleLayers {
            let key = name + ".weight"
            guard let values = weights.removeValue(forKey: key) else { continue }
            let scales = weights.removeValue(forKey: key + ".scale")
            let shape = layer.weight.shape
            do {
                let precision = MultimodalGPT.precision(of: name, in: stored)
                let rows = try WeightRows(values: values, scales: scales, precision: precision, inputs: shape[1])
                guard rows.outputs == shape[0] else {
                    throw TensorError(.shapeMismatch, "the model has \(shape[0]) outputs, the file \(rows.outputs).")
                }
                result.append((key, layer, rows))
            } catch let error as TensorError {
                throw CheckpointError(.stateDictMismatch, "\(file): '\(key)': \(error.message)")
            }
        }
        return result
    }

    /// The weights of a GPT's linear layers as they are stored in a precision, by key; nothing for `float32`.
    ///
    /// - Throws: ``ModelError`` with code `.invalidInput` when the model is no GPT, or for weights that are not numbers.
    static func reducedTensors(
        of module: Module, in precision: WeightPrecision
    ) throws -> (tensors: [String: Tensor], int8Names: Set<String>) {
        guard precision != .float32 else { return ([:], []) }
        guard let gpt = module as? MultimodalGPT else {
            throw ModelError(.invalidInput, "Only the weights of a GPT are stored in fewer bits; this model has none.")
        }
        var tensors: [String: Tensor] = [:]
        var int8Names: Set<String> = []
        for (name, layer) in gpt.reducibleLayers {
            let rows = layer.rows(in: MultimodalGPT.precision(of: name, in: precision))
            let numbers = (rows.scales ?? rows.values).cast(to: .float32).scalars(Float.self)
            guard numbers.allSatisfy(\.isFinite) else {
                throw ModelError(.invalidInput, "'\(name).weight' holds values that are not numbers.")
            }
            tensors[name + ".weight"] = rows.values
            tensors[name + ".weight.scale"] = rows.scales
            if rows.precision == .int8 { int8Names.insert(name + ".weight") }
        }
        return (tensors, int8Names)
    }
}
