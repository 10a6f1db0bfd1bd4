import Checkpoints
import Tensors

extension ModelRegistry {
    /// The builders of encoders that several models share, by their factories' names.
    static let encoders: [Builder] = [
        ("bert_text_encoder", { fields, key in try BERTTextEncoder.read(fields, random: key) }),
        ("vision_transformer", { fields, key in try VisionTransformer.read(fields, preset: nil, random: key) }),
        ("vit_b_16", { fields, key in try VisionTransformer.read(fields, preset: .b16, random: key) }),
        ("vit_b_32", { fields, key in try VisionTransformer.read(fields, preset: .b32, random: key) }),
        ("vit_l_16", { fields, key in try VisionTransformer.read(fields, preset: .l16, random: key) }),
        ("vit_l_32", { fields, key in try VisionTransformer.read(fields, preset: .l32, random: key) }),
        ("vit_h_14", { fields, key in try VisionTransformer.read(fields, preset: .h14, random: key) }),
        ("cnn_lstm_classifier", { fields, key in try LateFusion.cnnLSTM(fields, random: key) }),
    ]
}
