// FLAVA's shapes from the keyword arguments of TorchMultimodal's factories and classes.

import Checkpoints
import Foundation
import Tensors

extension JSONFields {
    /// Throws if weights are to be fetched: the engine never does.
    func rejectPretrained(_ key: String = "pretrained") throws {
        guard try bool(key, default: false) else { return }
        throw mismatch(key, mustBe: "false: nothing is fetched, give the file of the weights instead")
    }
}

extension DalleEncoder.Configuration {
    /// Reads the arguments of the peer's `DalleEncoder`.
    init(_ fields: JSONFields) throws {
        try fields.accept("group_count", "n_hid", "n_blk_per_group", "input_channels", "vocab_size")
        self.init()
        groupCount = try fields.integer("group_count", in: 1...64, default: groupCount)
        hiddenDimension = try fields.integer("n_hid", in: 4...(1 << 16), default: hiddenDimension)
        blocksPerGroup = try fields.integer("n_blk_per_group", in: 1...64, default: blocksPerGroup)
        inputChannels = try fields.size("input_channels", default: inputChannels)
        vocabularySize = try fields.size("vocab_size", default: vocabularySize)
    }

    /// Reads the arguments of the peer's `DalleVAEEncoder`, and `encoder`, those of its `DalleEncoder`.
    init(codebook fields: JSONFields) throws {
        try fields.accept("image_size", "pretrained", "encoder")
        // Its size is that of the image it is given, as in the peer.
        if (try? fields.integers("image_size")) == nil { _ = try fields.size("image_size", default: 112) }
        try fields.rejectPretrained()
        self = try fields.optionalFields("encoder").map { try Self($0) } ?? Self()
    }
}

extension FLAVAPretrainingLoss.Configuration {
    /// Reads the arguments of the peer's `FLAVAPretrainingLoss`.
    init(_ fields: JSONFields) throws {
        try fields.accept(
            "logit_scale", "hidden_size", "text_vocab_size", "image_vocab_size", "transform_act_fn", "layer_norm_eps",
            "ignore_index", "mlm_weight", "mim_weight", "contrastive_loss_weight", "mmm_image_loss_weight",
            "mmm_text_loss_weight", "itm_loss_weight")
        self.init()
        logitScale = try fields.double("logit_scale", default: logitScale)
        hiddenSize = try fields.size("hidden_size", default: hiddenSize)
        textVocabulary = try fields.size("text_vocab_size", default: textVocabulary)
        imageVocabulary = try fields.size("image_vocab_size", default: imageVocabulary)
        activation = try fields.activation("transform_act_fn", default: .gelu)
        epsilon = try fields.positive("layer_norm_eps", default: epsilon)
        ignored = try fields.integer("ignore_index", default: ignored)
        mlmWeight = try fields.double("mlm_weight", default: mlmWeight)
        mimWeight = try fields.double("mim_weight", default: mimWeight)
        contrastiveWeight = try fields.double("contrastive_loss_weight", default: contrastiveWeight)
        mmmImageWeight = try fields.double("mmm_image_loss_weight", default: mmmImageWeight)
        mmmTextWeight = try fields.double("mmm_text_loss_weight", default: mmmTextWeight)
        itmWeight = try fields.double("itm_loss_weight", default: itmWeight)
    }
}
