import NeuralNets
import Tensors

/// How similar the images and texts of a batch are to those of the batch and of the queues, divided by the temperature.
public struct ALBEFSimilarity {
    /// Of each image to all texts, `[batch, batch + queue]`.
    public let imageToText: Tensor
    /// Of each text to all images.
    public let textToImage: Tensor
    /// Of each image to all texts, as the momentum twins see them; without a gradient.
    public let momentumImageToText: Tensor
    /// Of each text to all images, likewise.
    public let momentumTextToImage: Tensor
}

/// What the losses of ALBEF are computed from.
public struct ALBEFSimilarityOutput {
    /// The encodings of the batch.
    public let encodings: ALBEFEncodings
    /// Of each text joined with an image that does not belong to it, then of each image with a text that does not,
    /// `[2 batch, length, width]`.
    public let negatives: Tensor
    /// The similarities.
    public let similarity: ALBEFSimilarity
    /// The share of each pair in the target, `[batch, batch + queue]`: equal for all that carry the row's identifier.
    public let targets: Tensor
}

/// ALBEF with projections to a common space and queues of what the momentum twins made of the last pairs, keys `temp`,
/// `image_queue`, `text_queue`, `idx_queue`, `queue_ptr`, `albef_model`, `vision_proj`, `text_proj` and both with `_m`.
///
/// In training the twins' projections of a batch enter the queues when the step is over, pass after pass: all passes of a
/// step see the same queues, in whatever process they are computed. At inference nothing changes. A batch need not divide
/// the queue.
public final class ALBEFModelWithSimilarity: Module {
    /// What similarities are divided by, a scalar.
    @Parameter public var temperature: Tensor
    /// `[embedding width, queue]`, columns of length 1.
    @Buffer public private(set) var imageQueue: Tensor
    /// Likewise.
    @Buffer public private(set) var textQueue: Tensor
    /// The identifiers of the queues' pairs, `[1, queue]`, `int64`.
    @Buffer public private(set) var identifierQueue: Tensor
    /// Where the next pair goes, `[1]`, `int64`.
    @Buffer public private(set) var queuePosition: Tensor
    /// The encoders.
    public let albefModel: ALBEFModel
    let visionProj: Linear
    let textProj: Linear
    let visionProjM: Linear
    let textProjM: Linear
    private let twins: MomentumTwins
    private let emptyIdentifier: Int

    /// A model whose queues hold random directions.
    ///
    /// - Parameters:
    ///   - model: the encoders.
    ///   - projection: makes a projection to the common space, for a purpose; called four times.
    ///   - queueSize: how many pairs are remembered.
    ///   - emptyIdentifier: the identifier of places that no pair has taken yet.
    ///   - temperature: what similarities are divided by at first.
    ///   - random: where the queues' first values come from.
    public init(
        _ model: ALBEFModel, projection: (_ purpose: String) -> Linear, queueSize: Int = 65536,
        emptyIdentifier: Int = -100, temperature: Double = 0.07, random: RandomKey
    ) {
        albefModel = model
        (visionProj, textProj) = (projection("vision"), projection("text"))
        visionProjM = MomentumTwins.made { projection("vision") }
        textProjM = MomentumTwins.made { projection("text") }
        twins = MomentumTwins([(visionProjM, visionProj), (textProjM, textProj)], momentum: model.momentum)
        self.emptyIdentifier = emptyIdentifier
        let width = visionProj.weight.shape[0]
        func directions(_ purpose: String) -> Tensor {
            let values = Initialization.normal([width, queueSize], deviation: 1, key: random.derived(purpose))
            return Initialization.isSkipping ? values : values.scaledToLengthOne(axis: 0)
        }
        _temperature = Parameter(wrappedValue: Tensor(scalar: Float(temperature)), key: "temp")
        imageQueue = directions("image queue")
        textQueue = directions("text queue")
        _identifierQueue = Buffer(
            wrappedValue: Tensor(repeating: Double(emptyIdentifier), shape: [1, queueSize], dtype: .int64),
            key: "idx_queue")
        _queuePosition = Buffer(wrappedValue: Tensor([Int64(0)]), key: "queue_ptr")
    }

    public override func stateDidChange() { twins.stateDidChange() }

    /// An image's place in the common space, `[batch, embedding width]`, of length 1, from its tokens.
    public func feature(image tokens: Tensor, _ context: ForwardContext) -> Tensor {
        visionProj(tokens.selected(1, 0), context).scaledToLengthOne()
    }

    /// A text's place in the common space, `[batch, embedding width]`, of length 1, from its states.
    public func feature(text states: Tensor, _ context: ForwardContext) -> Tensor {
        textProj(states.selected(1, 0), context).scaledToLengthOne()
    }

    /// Encodes pairs, compares them with each other and with the queues, and joins each with hard negatives.
    ///
    /// - Parameters:
    ///   - image: `[batch, 3, height, width]`.
    ///   - text: ids, `[batch, length]`, `int64`.
    ///   - mask: `[batch, length]`, not zero where an id is read.
    ///   - identifiers: `[batch]`, `int64`: pairs of one identifier match one another.
    ///   - given: the negatives; drawn when `nil`.
    ///   - context: of the forward pass.
    /// - Throws: ``ModelError`` with code `.invalidInput` for inputs that the encoders cannot take, an identifier that marks
    ///   empty places, or a batch of one.
    public func callAsFunction(
        _ image: Tensor, _ text: Tensor, mask: Tensor, identifiers: Tensor, negatives given: HardNegatives? = nil,
        _ context: ForwardContext
    ) throws -> ALBEFSimilarityOutput {
        guard !identifiers.scalars(Int64.self).contains(Int64(emptyIdentifier)) else {
            throw ModelError(
                .invalidInput,
                "The identifier \(emptyIdentifier) marks empty places of the queues; give pairs other identifiers.")
        }
        let own = try albefModel.apart(image, text, mask: mask, context)
        let teacher = try albefModel.momentumApart(image, text, mask: mask, context)
        let targets = shares(of: identifiers)
        let similarity = compared(own, teacher, identifiers, context)
        let negatives =
            try given
            ?? HardNegatives(
                imageToText: similarity.imageToText, textToImage: similarity.textToImage, identifiers: identifiers,
                key: context.nextKey("negatives"))
        // Each pair, each text with another image, each image with another text.
        let ownRows = Array(0..<image.shape[0])
        let texts = ownRows + ownRows + negatives.texts
        let images = ownRows + negatives.images + ownRows
        let joined = albefModel.multimodalEncoder(
            own.text.entries(texts), textMask: AttentionMask(padded: mask.entries(texts)),
            image: own.image, imageRows: images, context)
        let count = ownRows.count
        return ALBEFSimilarityOutput(
            encodings: ALBEFEncodings(image: own.image, text: own.text, multimodal: joined.sliced(0, 0..<count)),
            negatives: joined.sliced(0, count..<3 * count), similarity: similarity, targets: targets)
    }

    /// Which columns of batch and queue carry a row's identifier, in equal shares.
    private func shares(of identifiers: Tensor) -> Tensor {
        let all = concatenated([identifiers.unsqueezed(0), identifierQueue], axis: 1)
        let isSame = identifiers.unsqueezed(1).isEqual(to: all).cast(to: .float32)
        return isSame / isSame.sum(axes: [1], keepsAxes: true)
    }

    private func compared(
        _ own: (image: Tensor, text: Tensor), _ teacher: (image: Tensor, text: Tensor), _ identifiers: Tensor,
        _ context: ForwardContext
    ) -> ALBEFSimilarity {
        let (image, text) = (feature(image: own.image, context), feature(text: own.text, context))
        let (imageM, textM) = withoutGradients {
            twins.follow(context)
            return (
                visionProjM(teacher.image.selected(1, 0), context).scaledToLengthOne(),
                textProjM(teacher.text.selected(1, 0), context).scaledToLengthOne()
            )
        }
        /// Products with the batch and the queue, side by side: the queue is read where it lies.
        func scores(_ x: Tensor, _ batch: Tensor, _ queue: Tensor) -> Tensor {
            concatenated([matmul(x, batch.transposed()), matmul(x, queue)], axis: 1) / temperature
        }
        let result = ALBEFSimilarity(
            imageToText: scores(image, textM, textQueue), textToImage: scores(text, imageM, imageQueue),
            momentumImageToText: withoutGradients { scores(imageM, textM, textQueue) },
            momentumTextToImage: withoutGradients { scores(textM, imageM, imageQueue) })
        if context.isTraining, !context.isRepeated {
            context.observe(
                .each(values: [imageM, textM, identifiers]) { [self] in enqueue($0[0], $0[1], $0[2]) })
        }
        return result
    }

    /// Puts pairs in the places of the oldest ones.
    ///
    /// - Parameters:
    ///   - images: `[batch, embedding width]`.
    ///   - texts: likewise.
    ///   - identifiers: `[batch]`, `int64`.
    func enqueue(_ images: Tensor, _ texts: Tensor, _ identifiers: Tensor) {
        let size = imageQueue.shape[1]
        // Of more pairs than there are places the last ones stay.
        var next = max(0, images.shape[0] - size)
        var position = Int(queuePosition.item(Int64.self))
        while next < images.shape[0] {
            let count = min(images.shape[0] - next, size - position)
            let part = next..<(next + count)
            imageQueue.replace(axis: 1, at: position, with: images.sliced(0, part).transposed())
            textQueue.replace(axis: 1, at: position, with: texts.sliced(0, part).transposed())
            identifierQueue.replace(axis: 1, at: position, with: identifiers.sliced(0, part).unsqueezed(0))
            next += count
            position = (position + count) % size
        }
        queuePosition = Tensor([Int64(position)])
    }
}

extension Tensor {
    /// Divided by its Euclidean length along an axis; vectors shorter than 1e-12 are divided by that, as PyTorch does.
    func scaledToLengthOne(axis: Int = -1) -> Tensor {
        // The square is kept from zero, so that a vector of zeros has a gradient, zero.
        let square = squared().sum(axes: [axis], keepsAxes: true)
        return self / Tensor.maximum(square, Tensor(repeating: 1e-24, shape: [], dtype: dtype)).squareRoot()
    }
}
