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

/// FLAVA's names of before: of its first files, and of the checkpoints of MMF, in which it was trained.
///
/// Source: examples/flava/tools/convert_weights.py and examples/flava/notebooks/RemapFLAVACheckpoint.ipynb of the peer, taken
/// on to the names that the model has now.
private enum FormerFLAVAKeys {
    /// Those of the three encoders and of what joins them.
    static func model(_ prefix: String) -> [StateDictMatcher.Rename] {
        ["image_encoder", "text_encoder", "mm_encoder"].flatMap { encoder($0, prefix) } + [
            .key("\(prefix)mm_encoder.encoder.cls_token", "\(prefix)mm_encoder.cls_token"),
            .prefix("\(prefix)text_encoder.embeddings.LayerNorm.", "\(prefix)text_encoder.embeddings.layer_norm."),
            .prefix("\(prefix)mm_image_projection.", "\(prefix)image_to_mm_projection."),
            .prefix("\(prefix)mm_text_projection.", "\(prefix)text_to_mm_projection."),
            .prefix("loss.contrastive_loss.image_projection.", "\(prefix)image_projection."),
            .prefix("loss.contrastive_loss.text_projection.", "\(prefix)text_projection."),
        ]
    }

    private static func encoder(_ name: String, _ prefix: String) -> [StateDictMatcher.Rename] {
        let layer = "\(prefix)\(name).encoder.layer.*"
        return [
            .prefix("\(prefix)\(name).module.", "\(prefix)\(name)."),
            .pattern("\(layer).attention.attention.*.*", "\(layer).attention.*.*"),
            .pattern("\(layer).attention.output.dense.*", "\(layer).attention.output.*"),
            .pattern("\(layer).intermediate.dense.*", "\(layer).feedforward.model.0.*"),
            .pattern("\(layer).intermediate.*", "\(layer).feedforward.model.0.*"),
            .pattern("\(layer).output.dense.*", "\(layer).feedforward.model.2.*"),
            .pattern("\(layer).output.*", "\(layer).feedforward.model.2.*"),
            .pattern("\(layer).layernorm_before.*", "\(layer).attention_layernorm.*"),
            .pattern("\(layer).layernorm_after.*", "\(layer).feedforward_layernorm.*"),
        ]
    }

    /// Those of the heads that pre-training adds.
    static let heads: [StateDictMatcher.Rename] =
        [
            ("model.heads.cmd.mim_head", "loss.mmm_loss.mim"), ("model.heads.cmd.mlm_head", "loss.mmm_loss.mlm"),
            ("model.heads.fairseq_mlm", "loss.mlm_loss"), ("model.heads.imagenet.mim_head", "loss.mim_loss"),
        ].flatMap { former, now -> [StateDictMatcher.Rename] in
            [
                .prefix("\(former).", "\(now)."),
                .prefix("\(now).cls.predictions.transform.", "\(now).cls."),
                .prefix("\(now).cls.predictions.", "\(now).cls."),
                .prefix("\(now).cls.LayerNorm.", "\(now).cls.layer_norm."),
            ]
        } + [
            .prefix("model.heads.cmd.itm_head.", "loss.itm_loss."),
            .key("model.heads.cmd.clip_head.logit_scale", "loss.contrastive_loss.logit_scale"),
        ]
}

extension FLAVAModel: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { FormerFLAVAKeys.model("") }
}

extension FLAVAForPreTraining: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { FormerFLAVAKeys.model("model.") + FormerFLAVAKeys.heads }
}

extension FLAVAForClassification: FormerlyKeyed {
    var formerKeys: [StateDictMatcher.Rename] { FormerFLAVAKeys.model("model.") }
}
