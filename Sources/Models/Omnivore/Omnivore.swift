import NeuralNets
import Tensors

// One model for pictures, videos and pictures with depth (Girdhar et al. 2022, arXiv:2201.08377), as TorchMultimodal's
// models/omnivore.py has it.

/// An encoder of videos with a head for each kind of input, keys `encoder` and `heads.KIND`.
public final class Omnivore: Module {
    /// What an input is.
    public enum Kind: String, CaseIterable, Sendable, Hashable {
        /// A picture: a video of one frame.
        case image
        /// A picture whose fourth channel is depth.
        case rgbd
        /// A video.
        case video
    }

    /// The encoder.
    public let encoder: SwinTransformer3D
    private let heads: [(kind: Kind, head: Linear)]
    private let videoDropout = Dropout(0.5)

    /// A model.
    ///
    /// - Parameters:
    ///   - configuration: of the encoder; it gives features.
    ///   - classes: how many classes each head tells apart: ImageNet's, SUN RGB-D's and Kinetics' by default.
    ///   - random: where the first values come from.
    public init(
        _ configuration: SwinTransformer3D.Configuration,
        classes: [(kind: Kind, count: Int)] = [(.image, 1000), (.rgbd, 19), (.video, 400)], random: RandomKey
    ) {
        encoder = SwinTransformer3D(configuration, random: random.derived("encoder"))
        heads = classes.map { kind, count in
            (kind, Linear(configuration.classes ?? configuration.features, count, key: random.derived(kind.rawValue)))
        }
    }

    public override var explicitParts: [(key: String, part: Any)]? {
        [("encoder", encoder)]
            // A video's head has a dropout before it, which counts in the key.
            + heads.map { ($0.kind == .video ? "heads.video.1" : "heads.\($0.kind.rawValue)", $0.head) }
    }

    /// The kinds of input that there are heads for.
    public var kinds: [Kind] { heads.map(\.kind) }

    /// How many classes a kind's head tells apart; `nil` where there is no such head.
    public func classCount(_ kind: Kind) -> Int? { heads.first { $0.kind == kind }?.head.weight.shape[0] }

    /// How probable each class is of inputs that are seen in several clips: the mean over these, as in the paper.
    ///
    /// - Parameters:
    ///   - x: `[clips, 3 or 4, frames, height, width]`, one input's after the other.
    ///   - counts: how many clips each input has.
    /// - Returns: `[inputs, classes]`; `nil` when there is no such head.
    public func probabilities(_ x: Tensor, counts: [Int], kind: Kind) -> Tensor? {
        withoutGradients {
            guard let shares = self(x, kind: kind, .inference)?.softmax() else { return nil }
            guard counts.contains(where: { $0 > 1 }) else { return shares }
            var start = 0
            return concatenated(
                counts.map { count in
                    defer { start += count }
                    return shares.sliced(0, start..<start + count).mean(axes: [0], keepsAxes: true)
                })
        }
    }

    /// The scores of classes.
    ///
    /// - Parameters:
    ///   - x: `[batch, 3 or 4, frames, height, width]`, any sizes; a fourth channel is depth.
    ///   - kind: which head tells the classes apart.
    /// - Returns: `[batch, classes]`; `nil` when there is no such head.
    public func callAsFunction(_ x: Tensor, kind: Kind, _ context: ForwardContext) -> Tensor? {
        guard let head = heads.first(where: { $0.kind == kind })?.head else { return nil }
        let features = encoder(x, context)
        return head(kind == .video ? videoDropout(features, context) : features, context)
    }
}
