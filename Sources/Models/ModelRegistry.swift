import Checkpoints
import JSON
import NeuralNets
import Tensors

/// Maps the peer's factory names to builders.
public enum ModelRegistry {
    /// A factory's name, and what makes its model from its keyword arguments.
    typealias Builder = (name: String, build: @Sendable (JSONFields, RandomKey) throws -> Module)

    private static let builders = generators + encoders + clip + flava + albef + mdetr + omnivore + mugenRetrieval

    private static let generators: [Builder] = [
        ("video_vqvae", { fields, key in VQVAE(try videoVQVAE(fields), random: key) }),
        (
            "video_gpt.model.video_vqvae",
            { fields, key in
                VQVAE(try VQVAEConfiguration(layered: fields, dimensions: 3), random: key)
            }
        ),
        (
            "video_gpt.video_vqvae.video_vqvae",
            { fields, key in
                VQVAE(try VQVAEConfiguration(uniform: fields), random: key)
            }
        ),
        ("video_vqvae_mugen", { fields, key in VQVAE(try VQVAEConfiguration(mugen: fields), random: key) }),
        (
            "image_vqvae",
            { fields, key in
                VQVAE(try VQVAEConfiguration(layered: fields, dimensions: 2), random: key)
            }
        ),
        ("video_gpt", { fields, key in try VideoGPT.videoGPT(fields, random: key) }),
        ("text_video_gpt", { fields, key in try VideoGPT.textVideoGPT(fields, random: key) }),
        ("text_image_gpt", { fields, key in try VideoGPT.textImageGPT(fields, random: key) }),
    ]

    /// The names of all models, in the order of this table.
    public static var names: [String] { builders.map(\.name) }

    /// Builds a model with its first values.
    ///
    /// - Parameters:
    ///   - name: one of ``names``.
    ///   - arguments: the factory's keyword arguments.
    ///   - source: where they come from, for messages.
    ///   - seed: of the first values.
    /// - Throws: ``ModelError``, the configuration's reader error, or ``TensorError`` with code `.invalidSize` for a model
    ///   that is larger than the machine's memory.
    public static func build(_ name: String, arguments: JSONObject, source: String, seed: UInt64 = 0) throws -> Module {
        try build(name, JSONFields(arguments, source: source), seed: seed)
    }

    /// Builds a model with its first values from arguments that are being read.
    ///
    /// - Parameter isTrained: whether there must be memory to train it.
    public static func build(
        _ name: String, _ fields: JSONFields, seed: UInt64 = 0, isTrained: Bool = false
    ) throws -> Module {
        _ = try unfilled(name, fields, isTrained: isTrained)
        return try build(name, fields, random: RandomKey(seed: seed).derived("initialization"))
    }

    /// A model whose values are about to be loaded, or that is only looked at; it takes no memory, but there is enough.
    ///
    /// - Throws: as ``build(_:_:seed:isTrained:)``.
    public static func unfilled(_ name: String, _ fields: JSONFields, isTrained: Bool = false) throws -> Module {
        let module = try Initialization.skipped { try build(name, fields, random: RandomKey(seed: 0)) }
        try module.requireMemory(
            for: isTrained ? "Training a '\(name)' of these arguments" : "A '\(name)' of these arguments",
            isTrained: isTrained)
        return module
    }

    static func build(_ name: String, _ fields: JSONFields, random: RandomKey) throws -> Module {
        guard let builder = builders.first(where: { $0.name == name }) else {
            throw ModelError(
                .unknownModel, "There is no model '\(name)'; there are: \(names.joined(separator: ", ")).")
        }
        return try builder.build(fields, random)
    }

    /// The bare name is resolved by its keys: only one of the two builders has `encoder_n_layers`.
    private static func videoVQVAE(_ fields: JSONFields) throws -> VQVAEConfiguration {
        fields.has("encoder_n_layers")
            ? try VQVAEConfiguration(uniform: fields) : try VQVAEConfiguration(layered: fields, dimensions: 3)
    }

    /// A tokenizer inside another model's configuration: its arguments, and `model` where it is not the default.
    static func vqvae(_ fields: JSONFields, default fallback: String, random: RandomKey) throws -> VQVAE {
        let name = try fields.string("model", default: fallback)
        let arguments = JSONObject(fields.object.members.filter { $0.key != "model" }.map { ($0.key, $0.value) })
        guard let builder = builders.first(where: { $0.name == name }),
            let vqvae = try builder.build(fields.replacing(arguments), random) as? VQVAE
        else { throw fields.mismatch("model", mustBe: "the name of a VQVAE") }
        return vqvae
    }
}
