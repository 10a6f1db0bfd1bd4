import Checkpoints
import Tensors

extension ModelRegistry {
    /// The builders of this family, by their factories' names; the last two are those of TorchMultimodal's
    /// examples/albef/model.py.
    static let albef: [Builder] = [
        (
            "albef_model",
            { fields, key in
                let arguments = ALBEFArguments(fields, random: key)
                try fields.rejectUnknown(known: ALBEFArguments.encoders + ["momentum"])
                return try arguments.model(momentum: arguments.momentum())
            }
        ),
        (
            "albef_model_with_similarity",
            { fields, key in
                try fields.rejectUnknown(known: ALBEFArguments.encoders + ALBEFArguments.similarity + ["momentum"])
                let arguments = ALBEFArguments(fields, random: key)
                return try arguments.modelWithSimilarity(momentum: arguments.momentum())
            }
        ),
        (
            "albef_model_for_retrieval",
            { fields, key in
                try fields.rejectUnknown(known: ALBEFArguments.encoders + ALBEFArguments.similarity + ["hidden_size"])
                return try ALBEFArguments(fields, random: key).retrieval()
            }
        ),
        (
            "albef_model_for_vqa",
            { fields, key in
                try fields.rejectUnknown(known: ALBEFArguments.encoders + ALBEFArguments.decoder)
                return try ALBEFArguments(fields, random: key).vqa()
            }
        ),
    ]
}
