import Models
import NeuralNets
import Tensors

extension EmbeddingModel {
    /// The model, if it reads a picture and a text together, too, and its head for that was trained.
    public var joint: (any JointEncoder)? {
        if let flava = encoder as? FLAVAForPreTraining, flava.loss.configuration.itmWeight <= 0 { return nil }
        return encoder as? any JointEncoder
    }

    /// Reads a text, and gives what says how well pictures and clips match it.
    ///
    /// - Returns: of a picture or clip the score of "match" before a softmax, a clip's the mean of its frames'.
    /// - Throws: ``UnderstandingError`` for a model that does not read both together, or an empty text; ``ModelError``.
    public func reader(of text: String) throws -> (_ sight: PreparedSight) throws -> Float {
        let joint = try requireJoint()
        return try withoutGradients {
            let (ids, mask) = try prepare([text])
            let states = try joint.encode(text: ids, mask: mask, .inference).states
            return { sight in
                try withoutGradients {
                    let tokens = try joint.encode(image: sight.pixels, .inference).tokens
                    let same = [Int](repeating: 0, count: sight.count)
                    return joint.matchingScores(
                        image: tokens, text: states.entries(same), mask: mask.entries(same), .inference
                    ).mean().item(Float.self)
                }
            }
        }
    }

    /// How well texts match a picture or clip, as scores of "match" before a softmax.
    ///
    /// - Parameters:
    ///   - texts: the texts.
    ///   - sight: the picture or clip; its score is the mean of its frames'.
    ///   - batch: how many texts are read at once.
    /// - Returns: a score for each text.
    /// - Throws: as ``reader(of:)``.
    public func matches(_ texts: [String], sight: PreparedSight, batch: Int = 8) throws -> [Float] {
        try withoutGradients {
            let joint = try requireJoint()
            let tokens = try joint.encode(image: sight.pixels, .inference).tokens
            return try stride(from: 0, to: texts.count, by: batch).flatMap { start in
                let (ids, mask) = try prepare(Array(texts[start..<min(start + batch, texts.count)]))
                let states = try joint.encode(text: ids, mask: mask, .inference).states
                let scores = (0..<sight.count).map { frame in
                    joint.matchingScores(image: tokens.entries([frame]), text: states, mask: mask, .inference)
                }
                return stacked(scores).mean(axes: [0]).scalars(Float.self)
            }
        }
    }

    /// The model, if it reads a picture and a text together.
    ///
    /// - Throws: ``UnderstandingError`` otherwise.
    @discardableResult
    public func requireJoint() throws -> any JointEncoder {
        guard let joint else {
            throw UnderstandingError(
                "\(pretrained.path) holds the model \(pretrained.name), which does not read a picture and a text together; an ALBEF "
                    + "for retrieval or a FLAVA for pre-training does.")
        }
        return joint
    }
}
