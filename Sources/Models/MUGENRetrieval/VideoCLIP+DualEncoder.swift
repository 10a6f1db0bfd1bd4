import NeuralNets
import Tensors

extension VideoCLIP: DualEncoder {
    public var sight: Sight { .video }
    public var sightSize: [Int]? { nil }
    public var textLength: Int? { nil }
    public var longestText: Int { texts.positions }
    public var vocabularySize: Int { texts.vocabulary }

    public func embed(pixels: Tensor, _ context: ForwardContext) throws -> Tensor {
        guard pixels.rank == 5, pixels.shape[1] == 3, pixels.dtype.isFloatingPoint else {
            throw ModelError(
                .invalidInput,
                "Clips must be real numbers of the shape [batch, 3, frames, height, width], not \(pixels.dtype.rawValue) "
                    + "\(pixels.shape).")
        }
        let size = Array(pixels.shape.dropFirst(2))
        guard zip(size, leastVideo).allSatisfy({ $0 >= $1 }) else {
            throw ModelError(
                .invalidInput,
                "Clips must have at least \(leastVideo[0]) frames of \(leastVideo[1]) x \(leastVideo[2]) pixels for this "
                    + "model, not \(size[0]) of \(size[1]) x \(size[2]).")
        }
        return encoded(videos: pixels, context)
    }

    public func embed(ids: Tensor, _ context: ForwardContext) throws -> Tensor {
        guard ids.rank == 2, ids.dtype == .int64, (1...texts.positions).contains(ids.shape[1]) else {
            throw ModelError(
                .invalidInput,
                "Texts must be [batch, length] with at most \(texts.positions) ids each, not \(ids.dtype.rawValue) "
                    + "\(ids.shape).")
        }
        let range = 0..<Int64(texts.vocabulary)
        if let stranger = ids.scalars(Int64.self).first(where: { !range.contains($0) }) {
            throw ModelError(
                .invalidInput, "A text holds the id \(stranger); allowed are 0 to \(texts.vocabulary - 1).")
        }
        return encoded(texts: ids, context)
    }
}
