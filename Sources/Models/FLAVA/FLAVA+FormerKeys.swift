import Checkpoints
import NeuralNets

/// A model of which there are files with other keys than it has now.
protocol FormerlyKeyed: Module {
    /// What makes former keys present ones, and leaves those alone.
    var formerKeys: [StateDictMatcher.Rename] { get }
}

extension Module {
    /// The replacements for files of an older version of this model.
    var renames: [StateDictMatcher.Rename] { (self as? any FormerlyKeyed)?.formerKeys ?? [] }
}

/// FLAVA's first files have one level more in each attention.
private func formerFLAVAKeys(_ prefix: String) -> [StateDictMatcher.Rename] {
    ["image_encoder", "text_encoder", "mm_encoder"].map { encoder in
        let layer = "\(prefix)\(encoder).encoder.layer.*"
        return .pattern("\(layer).attention.attention.*.*", "\(layer).attention.*.*")
    }
}

extension FLAVAModel: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { formerFLAVAKeys("") }
}

extension FLAVAForPreTraining: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { formerFLAVAKeys("model.") }
}

extension FLAVAForClassification: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { formerFLAVAKeys("model.") }
}
