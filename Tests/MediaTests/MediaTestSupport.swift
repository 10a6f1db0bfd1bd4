import Foundation
import Tensors
import Testing

@testable import Media

/// A folder that disappears with the test.
final class TemporaryFolder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appendingPathComponent("media-tests-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func file(_ name: String) -> URL { url.appendingPathComponent(name) }

    var contents: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []).sorted()
    }
}

/// Where the FFmpeg command line is; tests that generate unusual files need it.
let ffmpegPath: String? = ["/usr/bin/ffmpeg", "/usr/local/bin/ffmpeg", "/opt/homebrew/bin/ffmpeg"]
    .first { FileManager.default.isExecutableFile(atPath: $0) }

/// Runs the FFmpeg command line in `folder`.
func ffmpeg(_ arguments: String, in folder: TemporaryFolder) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(ffmpegPath))
    process.arguments = ["-v", "error", "-nostdin", "-y"] + arguments.split(separator: " ").map(String.init)
    process.currentDirectoryURL = folder.url
    let errors = Pipe()
    process.standardError = errors
    try process.run()
    let text = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    try #require(
        process.terminationStatus == 0, "ffmpeg \(arguments): \(String(decoding: text, as: UTF8.self))")
}

/// A clip whose every pixel tells its frame and place: smooth, so that lossy codecs keep it.
func gradientClip(frames: Int, width: Int, height: Int, frameRate: Double = 10) throws -> Clip {
    var values: [UInt8] = []
    values.reserveCapacity(frames * width * height * 3)
    for t in 0..<frames {
        for y in 0..<height {
            for x in 0..<width {
                values.append(UInt8(40 + 120 * x / max(1, width - 1)))
                values.append(UInt8(40 + 120 * y / max(1, height - 1)))
                values.append(UInt8(20 + 200 * t / max(1, frames - 1)))
            }
        }
    }
    return try Clip(pixels: Tensor(values, shape: [frames, height, width, 3]), frameRate: frameRate)
}

/// A picture of one colour.
func flat(_ red: UInt8, _ green: UInt8, _ blue: UInt8, width: Int, height: Int) -> Tensor {
    Tensor(Array(repeating: [red, green, blue], count: width * height).flatMap { $0 }, shape: [height, width, 3])
}

/// The mean absolute difference and the largest one.
func difference(_ a: Tensor, _ b: Tensor) -> (mean: Double, largest: Int) {
    let left: [UInt8] = a.scalars()
    let right: [UInt8] = b.scalars()
    guard a.shape == b.shape else { return (.infinity, .max) }
    var sum = 0
    var largest = 0
    for (l, r) in zip(left, right) {
        let gap = abs(Int(l) - Int(r))
        sum += gap
        largest = max(largest, gap)
    }
    return (Double(sum) / Double(max(1, left.count)), largest)
}

/// The pixel at a place.
func pixel(_ clip: Clip, _ t: Int, _ y: Int, _ x: Int) -> [Int] {
    clip.pixels.withUnsafeBytes { bytes in
        let at = ((t * clip.height + y) * clip.width + x) * 3
        return (0..<3).map { Int(bytes[at + $0]) }
    }
}

/// Whether two pixels agree within `levels` of 255.
func isClose(_ a: [Int], _ b: [Int], within levels: Int) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= levels }
}

/// The error that `body` throws, if it is the library's.
func mediaError(_ body: () throws -> Void) -> MediaError? {
    do {
        try body()
        return nil
    } catch { return error as? MediaError }
}
