import Media
import Tensors

/// Clips with captions that a model is trained on.
public protocol ClipSource: Sendable {
    /// The number of clips.
    var count: Int { get }
    /// Describes the clips and how they are cut, so that nothing derived from others is mistaken for theirs.
    var fingerprint: String { get }
    /// The pixels of a clip: `uint8`, `[frames, height, width, 3]`, the same size for every clip.
    ///
    /// - Parameter epoch: chooses where a longer clip is cut; `nil` cuts it as evaluation does.
    func pixels(_ index: Int, epoch: Int?) throws -> Tensor
    /// What the clip shows.
    func caption(_ index: Int) -> String
    /// What tells its file from others: clips of one name show the same.
    func name(_ index: Int) -> String
    /// How many threads it takes to read clips about as fast as they are learned from.
    var readerCount: Int { get }
}

extension ClipSource {
    /// Every clip is another.
    public func name(_ index: Int) -> String { "\(index)" }
    /// One: reading is no work to speak of.
    public var readerCount: Int { 1 }
}

/// What a model of `dimensions` axes sees of clips that are `uint8`, `[frames, height, width, 3]`: `float32`,
/// `[clips, 3, frames, height, width]`, or `[clips, 3, height, width]` of the first frames.
func modelInput(_ clips: [Tensor], range: ClosedRange<Double>, dimensions: Int) throws -> Tensor {
    if dimensions == 3 { return try floatVideo(from: stacked(clips), range: range) }
    return try floatVideo(from: stacked(clips.map { $0.sliced(0, 0..<1) }), range: range).squeezed(2)
}

/// The pixels of what a model gives back for one clip, `[frames, height, width, 3]`, `uint8`.
public func modelPixels(_ output: Tensor, range: ClosedRange<Double>) throws -> Tensor {
    let video = output.rank == 5 ? output : output.unsqueezed(2)
    return try pixels(from: video.detached, range: range).selected(0, 0)
}
