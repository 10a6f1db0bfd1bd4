import Datasets
import Foundation
import Media
import Tensors

/// A folder that disappears with the test.
final class TemporaryFolder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("datasets-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func file(_ name: String) -> URL { url.appendingPathComponent(name) }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> URL {
        try Data(text.utf8).write(to: file(name))
        return file(name)
    }

    var contents: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []).sorted()
    }
}

/// Writes a clip whose frames tell the clip (red) and the frame (green): lossless, so that both can be read back.
func writeClip(_ url: URL, number: Int, frames: Int, width: Int = 16, height: Int = 12, frameRate: Double = 10) throws {
    var values: [UInt8] = []
    for t in 0..<frames {
        for _ in 0..<width * height { values += [UInt8(number), UInt8(t), 7] }
    }
    var options = VideoWriter.Options()
    options.isLossless = url.pathExtension == "mp4"
    try Clip(pixels: Tensor(values, shape: [frames, height, width, 3]), frameRate: frameRate)
        .write(to: url, options: options)
}

/// A folder of clips `clip_00.mp4`, ... with captions `caption N`.
func clipFolder(_ count: Int, frames: (Int) -> Int = { _ in 8 }) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for number in 0..<count {
        let name = "clip_" + (number < 10 ? "0" : "") + "\(number)"
        try writeClip(folder.file(name + ".mp4"), number: number, frames: frames(number))
        try folder.write(name + ".txt", "caption \(number)\n")
    }
    return folder
}

/// Red and green of each frame's first pixel: which clip, which frame.
func marks(_ pixels: Tensor) -> [[Int]] {
    let (frames, size) = (pixels.shape[0], pixels.shape[1] * pixels.shape[2] * 3)
    return pixels.withUnsafeBytes { bytes in (0..<frames).map { [Int(bytes[$0 * size]), Int(bytes[$0 * size + 1])] } }
}

/// The error that `body` throws, if it is the library's.
func datasetError(_ body: () throws -> Void) -> DatasetError? {
    do {
        try body()
        return nil
    } catch { return error as? DatasetError }
}
