import NeuralNets
import Tensors

/// What a batch should have found.
public struct MDETRTargets {
    /// Each image's boxes `[boxes, 4]`: center and size as shares of the image.
    public var boxes: [Tensor]
    /// `[all boxes, classes + 1]`: which tokens each box belongs to, see ``TokenSpans``.
    public var positiveMap: Tensor
    /// For each image, for each of its boxes, ranges of tokens: for the contrastive loss.
    public var tokens: [[[Range<Int>]]]

    /// Creates targets.
    public init(boxes: [Tensor], positiveMap: Tensor, tokens: [[[Range<Int>]]] = []) {
        self.boxes = boxes
        self.positiveMap = positiveMap
        self.tokens = tokens
    }
}

/// The weighted sum of MDETR's losses, and its parts.
public struct MDETRObjective: Sendable {
    /// The weights of the parts, by the names that the peer's examples give them.
    public var weights: [String: Double] = [
        "soft_token_loss": 1, "l1_loss": 5, "giou_loss": 2, "contrastive_alignment_loss": 1,
    ]
    /// The weight of queries without a box.
    public var noObjectWeight = 0.1
    /// What products of embeddings are divided by.
    public var temperature = 0.07
    /// Whether the results of all decoder layers are judged, as in the original; the peer's examples judge the last only.
    public var judgesAllLayers = true
    /// Matches predictions with boxes.
    public var matcher: HungarianMatcher

    /// The peer's settings.
    public init() throws { matcher = try HungarianMatcher() }

    /// The parts, those of earlier layers with the layer's number behind their names, and `total_loss`.
    ///
    /// - Parameters:
    ///   - model: what the heads belong to.
    ///   - output: of a call of it.
    ///   - contrastive: makes the embeddings of a layer's states; `nil` leaves that loss out.
    ///   - targets: what should have been found.
    ///   - boxCount: what sums are divided by; the number of boxes (at least 1) when `nil`.
    public func callAsFunction(
        _ model: MDETR, _ output: MDETR.Output,
        contrastive: ((MDETRTransformer.Output) -> ContrastiveEmbeddings)? = nil,
        targets: MDETRTargets, boxCount: Double? = nil, _ context: ForwardContext
    ) -> [(name: String, loss: Tensor)] {
        let boxes = boxCount ?? Double(max(targets.positiveMap.shape[0], 1))
        let last = output.transformer.decoderHiddenStates.shape[0] - 1
        var losses: [(name: String, loss: Tensor)] = []
        for layer in (judgesAllLayers ? 0...last : last...last).reversed() {
            var states = output.transformer
            states.decoderHiddenStates = states.decoderHiddenStates.sliced(0, layer..<(layer + 1))
            let (logits, found) =
                layer == last
                ? (output.logits, output.boxes) : model.predictions(states.decoderHiddenStates.squeezed(0), context)
            let matches = matcher(
                logits: logits, boxes: found, targets: targets.boxes, positiveMap: targets.positiveMap)
            let suffix = layer == last ? "" : "_\(layer)"
            losses += parts(logits, found, matches, targets, boxes).map { ($0.0 + suffix, $0.1) }
            guard let contrastive else { continue }
            let embeddings = contrastive(states)
            let map = alignmentMap(
                tokens: targets.tokens, matches: matches, queries: embeddings.queries.shape[1],
                length: embeddings.tokens.shape[1])
            losses.append(
                (
                    "contrastive_alignment_loss" + suffix,
                    contrastiveAlignmentLoss(
                        queries: embeddings.queries, tokens: embeddings.tokens, positives: map, boxCount: boxes,
                        temperature: temperature)
                ))
        }
        return losses + [("total_loss", total(losses))]
    }

    /// The sum of parts by their weights; what has no weight does not count.
    public func total(_ losses: [(name: String, loss: Tensor)]) -> Tensor {
        let weighted = losses.compactMap { name, loss -> Tensor? in
            let part = name.split(separator: "_")
            let plain = part.last.flatMap { Int($0) } == nil ? name : part.dropLast().joined(separator: "_")
            return weights[plain].map { loss * $0 }
        }
        return weighted.dropFirst().reduce(weighted.first ?? Tensor(scalar: Float(0)), +)
    }

    private func parts(
        _ logits: Tensor, _ boxes: Tensor, _ matches: [BoxMatch], _ targets: MDETRTargets, _ boxCount: Double
    ) -> [(String, Tensor)] {
        let tokens = softTokenPredictionLoss(
            logits, targetCounts: targets.boxes.map { $0.shape[0] }, positiveMap: targets.positiveMap,
            matches: matches, boxCount: boxCount, noObjectWeight: noObjectWeight)
        let found = BoxLosses(boxes, targets: targets.boxes, matches: matches, boxCount: boxCount)
        return [("soft_token_loss", tokens), ("l1_loss", found.distance), ("giou_loss", found.overlap)]
    }
}
