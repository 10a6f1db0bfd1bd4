import Tensors

/// A random part of a clip, the same in all of its frames, and perhaps its mirror image: so that training sees the same
/// picture in many ways.
public struct RandomView: Sendable, Hashable {
    /// Which part; everything when `nil`.
    public var crop: RandomResizedCrop?
    /// Whether half of the clips are mirrored; not for pictures whose meaning has a side.
    public var mirrors: Bool

    /// A way to look.
    public init(crop: RandomResizedCrop? = nil, mirrors: Bool = false) {
        self.crop = crop
        self.mirrors = mirrors
    }

    /// The part of a clip `[frames, height, width, 3]`, `uint8`.
    public func callAsFunction(_ clip: Tensor, key: RandomKey) -> Tensor {
        let size = ImageSize(height: clip.shape[1], width: clip.shape[2])
        let part = crop?.part(of: size, key: key.derived("crop"))
        let isMirrored = mirrors && key.derived("mirror").words(1)[0] & 1 == 1
        guard part != nil || isMirrored else { return clip }
        return stacked(
            (0..<clip.shape[0]).map { index in
                let frame = clip.selected(0, index)
                let cut = part.map { frame.cropped($0) } ?? frame
                return isMirrored ? cut.mirrored() : cut
            })
    }
}
