import Models
import NeuralNets
import Transforms

extension Preprocessing {
    /// How the published model of a name prepares its inputs, for checkpoints, which do not say.
    ///
    /// - Parameters:
    ///   - name: one of ``ModelRegistry/names``.
    ///   - module: the model, whose sizes are taken where they can differ.
    /// - Returns: `nil` for a model whose inputs are no files, or whose preparation is its caller's choice.
    public static func standard(for name: String, _ module: Module) -> Preprocessing? {
        // By family: factories of one differ in size only.
        if name.hasPrefix("flava_model") { return .flava() }
        if let albef = module as? ALBEFModelForRetrieval { return .albef(size: albef.sightSize?[0] ?? 384) }
        if let albef = module as? ALBEFModelForVQA { return .albef(size: albef.pictureSide, contextLength: 25) }
        if let encoder = module as? any DualEncoder, encoder.sight == .image {
            return .clip(size: encoder.sightSize?[0] ?? 224, contextLength: encoder.textLength ?? 77)
        }
        if name == "videoclip" { return .videoCLIP }
        if name.hasPrefix("mdetr") { return .mdetr() }
        if name.hasPrefix("omnivore") { return .omnivore }
        return nil
    }
}
