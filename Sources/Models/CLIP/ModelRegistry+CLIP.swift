import Checkpoints
import NeuralNets
import Tensors

extension ModelRegistry {
    /// CLIP's factories, and `clip` for one of any size.
    static let clip: [Builder] = [anyCLIP] + CLIPConfiguration.named.map { published($0.name, $0.configuration) }

    private static let anyCLIP: Builder = ("clip", { fields, key in try CLIPArguments.clip(fields, key) })

    private static func published(_ name: String, _ configuration: CLIPConfiguration) -> Builder {
        // The two of torchvision were never published and take no arguments.
        let known = name.hasSuffix("_tv") ? [] : ["pretrained"]
        return (
            name,
            { fields, key in
                try fields.rejectUnknown(known: known)
                guard try !fields.bool("pretrained", default: false) else {
                    throw fields.mismatch(
                        "pretrained", mustBe: "false (nothing is downloaded; give the file of the weights)")
                }
                return CLIP(configuration, random: key)
            }
        )
    }
}
