import Foundation
import Media
import Tensors

/// Writes a clip as its frames come; several frames become a sheet where the format holds one picture.
final class ClipFile {
    /// Frames so far.
    private(set) var frameCount = 0
    private let writer: VideoWriter
    private let holdsOnePicture: Bool
    private var collected: [Tensor] = []

    /// Opens a file beside the destination, which appears whole or not at all.
    ///
    /// - Parameters:
    ///   - file: the destination.
    ///   - frameRate: frames per second.
    /// - Throws: ``MediaError`` for an extension that is no format, or a folder that cannot be written to.
    init(_ file: URL, frameRate: Double) throws {
        holdsOnePicture = try MediaFormat(destination: file).isStill && !file.lastPathComponent.contains("%")
        writer = try VideoWriter(to: file, frameRate: frameRate)
    }

    /// Adds frames, `[frames, height, width, 3]`, `uint8`.
    ///
    /// - Throws: ``MediaError``.
    func append(_ frames: Tensor) throws {
        frameCount += frames.shape[0]
        if holdsOnePicture { collected.append(frames) } else { try writer.append(frames) }
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: ``MediaError``; nothing is left behind then.
    func finish() throws -> WrittenMedia {
        if holdsOnePicture, !collected.isEmpty {
            let frames = concatenated(collected)
            try writer.append(frames.shape[0] > 1 ? try contactSheet(frames) : frames)
        }
        return try writer.finish()
    }

    /// Writes a clip that `body` gives the frames of; when it throws, nothing is left behind.
    ///
    /// - Returns: what was written, and how many frames it shows.
    static func write(
        to file: URL, frameRate: Double, _ body: (ClipFile) throws -> Void
    ) throws -> (media: WrittenMedia, frames: Int) {
        let clip = try ClipFile(file, frameRate: frameRate)
        do {
            try body(clip)
            return (try clip.finish(), clip.frameCount)
        } catch {
            clip.writer.cancel()
            throw error
        }
    }
}
