import Datasets
import Foundation
import Media
import Tensors
import Transforms

/// The pictures that questions are about, each read once, at the size that the model sees.
struct QuestionPictures: Sendable {
    /// The files, each once, in the order in which questions name them.
    let files: [URL]
    /// The preparation that follows.
    let preparation: ImagePreparation
    /// `[height, width, 3]`, `uint8`; `nil` for those that are read whenever they are needed.
    private var held: [Tensor?]
    /// What could not be read, and why.
    private(set) var problems: [URL: String] = [:]

    /// Names pictures, and reads them all where they are to be kept.
    ///
    /// - Parameters:
    ///   - files: each once.
    ///   - preparation: of the model.
    ///   - byteLimit: how much is kept in memory at most; 0 reads nothing now.
    ///   - shouldStop: asked before each file.
    ///   - progress: called with the number of files read.
    init(
        _ files: [URL], preparation: ImagePreparation, byteLimit: Int, shouldStop: () -> Bool = { false },
        progress: (Int) -> Void = { _ in }
    ) throws {
        self.files = files
        self.preparation = preparation
        held = [Tensor?](repeating: nil, count: files.count)
        var bytes = 0
        for (place, file) in files.enumerated() where byteLimit > 0 {
            if shouldStop() { throw CancellationError() }
            do {
                let pixels = try Self.read(file, preparation)
                if bytes + pixels.count <= byteLimit {
                    bytes += pixels.count
                    held[place] = pixels
                }
            } catch {
                problems[file] = "\(error)"
            }
            progress(place + 1)
        }
    }

    private static func read(_ file: URL, _ preparation: ImagePreparation) throws -> Tensor {
        try preparation.pixels(readImage(MediaSource(file)))
    }

    /// A picture before it is normalised, `[height, width, 3]`, `uint8`.
    func pixels(_ place: Int) throws -> Tensor { try held[place] ?? Self.read(files[place], preparation) }

    /// A picture as the model takes it, `[3, height, width]`, `float32`.
    func prepared(_ place: Int) throws -> Tensor { try preparation.scaling.apply(to: pixels(place)) }
}
