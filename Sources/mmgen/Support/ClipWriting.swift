import Foundation
import Media
import Tensors

/// Writes frames to a file; several frames become a sheet where the format holds one picture.
///
/// - Parameters:
///   - frames: `[frames, height, width, 3]`, `uint8`.
///   - file: the destination, which appears whole or not at all.
///   - frameRate: frames per second.
/// - Returns: what was written.
/// - Throws: ``MediaError`` for an extension that is no format, or a file that cannot be written.
func writeClip(_ frames: Tensor, to file: URL, frameRate: Double) throws -> WrittenMedia {
    let format = try MediaFormat(destination: file)
    let isSheet = format.isStill && frames.shape[0] > 1 && !file.lastPathComponent.contains("%")
    let pixels = isSheet ? try contactSheet(frames).unsqueezed(0) : frames
    return try Clip(pixels: pixels, frameRate: frameRate).write(to: file)
}
