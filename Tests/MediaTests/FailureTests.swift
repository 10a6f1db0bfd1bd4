import Foundation
import Tensors
import TestSupport
import Testing

@testable import Media

@Suite("Files that cannot be read or written")
struct FailureTests {
    @Test("what is no media file is refused with a sentence that names it")
    func refusals() throws {
        let folder = try TemporaryFolder()
        try Data().write(to: folder.file("empty.mp4"))
        try Data((0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 3) }).write(to: folder.file("garbage.mp4"))
        try Data("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n".utf8).write(to: folder.file("list.mp4"))
        try Data("ffconcat version 1.0\nfile garbage.mp4\n".utf8).write(to: folder.file("concat.mp4"))
        try Data("plain text\n".utf8).write(to: folder.file("text.png"))
        mkfifo(folder.file("pipe.mp4").path, 0o600)
        let cases: [(String, MediaError.Code)] = [
            ("missing.mp4", .fileNotFound), ("", .notAFile), ("empty.mp4", .unreadable), ("garbage.mp4", .unreadable),
            ("list.mp4", .unreadable), ("concat.mp4", .unreadable), ("text.png", .unreadable), ("pipe.mp4", .notAFile),
        ]
        for (name, code) in cases {
            let file = name.isEmpty ? folder.url : folder.file(name)
            let error = mediaError { _ = try VideoReader(file) }
            #expect(error?.code == code, "\(name): \(error?.message ?? "no error")")
            #expect(error?.message.contains(file.path) == true)
            #expect(error?.message.hasSuffix(".") == true)
        }
        #expect(mediaError { _ = try VideoReader(URL(fileURLWithPath: "/dev/zero")) }?.code == .notAFile)
    }

    @Test(
        "a cut-off file is refused or read as far as it goes, at every length",
        arguments: ["mp4", "webm", "mkv", "gif", "png"])
    func truncation(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: kind == "png" ? 1 : 10, width: 64, height: 48)
        try clip.write(to: folder.file("whole.\(kind)"))
        let bytes = try Data(contentsOf: folder.file("whole.\(kind)"))
        var noticed = 0
        let steps = 24
        for step in 1..<steps {
            let file = folder.file("cut.\(kind)")
            try bytes.prefix(bytes.count * step / steps).write(to: file)
            do {
                let cut = try Clip(contentsOf: file)
                #expect((1...clip.frameCount).contains(cut.frameCount))
                #expect((cut.width, cut.height) == (64, 48))
                if cut.report.summary != nil || cut.frameCount < clip.frameCount { noticed += 1 }
            } catch let error as MediaError {
                #expect([.unreadable, .noFrames].contains(error.code), "\(error.message)")
                noticed += 1
            }
        }
        #expect(noticed == steps - 1)
        #expect(try Clip(contentsOf: folder.file("whole.\(kind)")).report.isClean)
    }

    @Test(
        "a GIF, MKV or WebM that is cut off anywhere is noticed, whatever its last byte is",
        arguments: ["gif", "mkv", "webm"])
    func shorter(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let whole = folder.file("whole.\(kind)")
        try gradientClip(frames: 12, width: 16, height: 16).write(to: whole)
        let bytes = try Data(contentsOf: whole)
        #expect(try Clip(contentsOf: whole).report.isClean)
        let ends = kind == "gif" ? bytes.indices.filter { bytes[$0] == 0x3B }.map { $0 + 1 } : []
        for count in ends + Array(stride(from: bytes.count / 3, to: bytes.count, by: 7)) where count < bytes.count {
            let file = folder.file("cut.\(kind)")
            try bytes.prefix(count).write(to: file)
            let report = (try? Clip(contentsOf: file))?.report
            #expect(report?.isTruncated != false, "\(count) of \(bytes.count) bytes")
        }
        // What lies behind the end is nobody's business.
        try (bytes + Data([0, 0x3B, 7])).write(to: folder.file("more.\(kind)"))
        #expect(try Clip(contentsOf: folder.file("more.\(kind)")).report.isTruncated == false)
    }

    @Test(
        "a film that was written live may end anywhere",
        .enabled(if: ffmpegPath != nil, "needs the ffmpeg command line"))
    func live() throws {
        let folder = try TemporaryFolder()
        try ffmpeg("-f lavfi -i testsrc2=s=32x32:r=10:d=3 -c:v libx264 -g 5 -f matroska -live 1 a.mkv", in: folder)
        let bytes = try Data(contentsOf: folder.file("a.mkv"))
        try bytes.prefix(bytes.count / 2).write(to: folder.file("b.mkv"))
        #expect(try Clip(contentsOf: folder.file("a.mkv")).report.isClean)
        #expect(try Clip(contentsOf: folder.file("b.mkv")).frameCount < 30)
    }

    @Test(
        "a file with random damage is read or refused, in a moment and in little memory",
        arguments: ["mp4", "mov", "mkv", "webm", "gif", "png", "jpg", "webp", "apng", "wav"])
    func damage(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let isStill = ["png", "jpg", "webp"].contains(kind)
        let clip = try gradientClip(frames: isStill ? 1 : 6, width: 48, height: 32)
        if kind != "wav" { try clip.write(to: folder.file("whole.\(kind)")) }
        let bytes = kind == "wav" ? Self.sound : [UInt8](try Data(contentsOf: folder.file("whole.\(kind)")))
        var generator = SeededGenerator(seed: seed(of: kind))
        var options = VideoReader.Options()
        options.maximumPixels = 1 << 20
        options.maximumClipBytes = 1 << 26
        let total = try cost {
            for _ in 0..<60 {
                // Most of what goes wrong is in the first bytes.
                let head = min(bytes.count, generator.int(0..<2) == 0 ? 256 : bytes.count)
                let file = folder.file("damaged.\(kind)")
                try Data(damaged(Array(bytes[..<head]), using: &generator) + bytes[head...]).write(to: file)
                do {
                    let found = try Clip(contentsOf: file, options: options)
                    #expect(found.frameCount > 0 && kind != "wav")
                } catch { #expect(error is MediaError) }
            }
        }
        #expect(total.seconds < 20 && total.bytes < 1 << 30, "\(total)")
    }

    /// A tenth of a second of silence: a file that FFmpeg reads and that has no pictures.
    private static let sound: [UInt8] = {
        func number(_ value: Int, _ width: Int) -> [UInt8] { (0..<width).map { UInt8(value >> (8 * $0) & 255) } }
        let format = number(1, 2) + number(1, 2) + number(8000, 4) + number(16000, 4) + number(2, 2) + number(16, 2)
        return Array("RIFF".utf8) + number(36 + 1600, 4) + Array("WAVEfmt ".utf8) + number(16, 4) + format
            + Array("data".utf8) + number(1600, 4) + [UInt8](repeating: 0, count: 1600)
    }()

    @Test("a strict reader refuses a damaged file", .enabled(if: ffmpegPath != nil, "needs the ffmpeg command line"))
    func strict() throws {
        let folder = try TemporaryFolder()
        try ffmpeg(
            "-f lavfi -i testsrc2=s=128x96:r=10:d=3 -pix_fmt yuv420p -c:v libx264 -movflags +faststart a.mp4",
            in: folder)
        var bytes = try Data(contentsOf: folder.file("a.mp4"))
        for index in stride(from: bytes.count / 2, to: bytes.count * 3 / 4, by: 40) { bytes[index] ^= 0x5A }
        try bytes.write(to: folder.file("b.mp4"))
        let lenient = try Clip(contentsOf: folder.file("b.mp4"))
        #expect(!lenient.report.isClean)
        var options = VideoReader.Options()
        options.isStrict = true
        #expect(mediaError { _ = try Clip(contentsOf: folder.file("b.mp4"), options: options) }?.code == .damaged)
        #expect(try Clip(contentsOf: folder.file("a.mp4"), options: options).frameCount == 30)
    }

    @Test("a picture with too many pixels is refused from its header")
    func bombs() throws {
        let folder = try TemporaryFolder()
        // A PNG header that declares 60,000 x 60,000 pixels, and nothing after it.
        let png: [UInt8] =
            [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52]
            + [0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60, 8, 2, 0, 0, 0, 0, 0, 0, 0]
        try Data(png).write(to: folder.file("bomb.png"))
        let error = mediaError { _ = try VideoReader(folder.file("bomb.png")) }
        #expect(error?.code == .tooLarge)
        #expect(error?.message.contains("60000") == true)
        try gradientClip(frames: 4, width: 64, height: 64).write(to: folder.file("clip.mp4"))
        var options = VideoReader.Options()
        options.maximumPixels = 64 * 63
        #expect(mediaError { _ = try VideoReader(folder.file("clip.mp4"), options: options) }?.code == .tooLarge)
        options = VideoReader.Options()
        options.maximumClipBytes = 64 * 64 * 3 * 3
        #expect(mediaError { _ = try Clip(contentsOf: folder.file("clip.mp4"), options: options) }?.code == .tooLarge)
        let reader = try VideoReader(folder.file("clip.mp4"), options: options)
        var count = 0
        try reader.forEachFrame { _ in count += 1 }
        #expect(count == 4)
    }

    @Test("destinations that cannot be written are refused before any work")
    func destinations() throws {
        let folder = try TemporaryFolder()
        func code(_ name: String, _ rate: Double = 10) -> MediaError.Code? {
            mediaError { _ = try VideoWriter(to: folder.file(name), frameRate: rate) }?.code
        }
        #expect(code("clip.xyz") == .unknownFormat)
        #expect(code("clip") == .unknownFormat)
        #expect(code("missing/clip.mp4") == .cannotWrite)
        #expect(code(String(repeating: "a", count: 260) + ".mp4") == .cannotWrite)
        #expect(code("clip.mp4", 0) == .invalidArgument)
        #expect(code("clip.mp4", -1) == .invalidArgument)
        #expect(code("clip.mp4", .nan) == .invalidArgument)
        #expect(code("clip.mp4", 5000) == .invalidArgument)
        try FileManager.default.createDirectory(at: folder.file("folder.mp4"), withIntermediateDirectories: false)
        #expect(code("folder.mp4") == .cannotWrite)
        var options = VideoWriter.Options()
        options.crf = 99
        #expect(
            mediaError { _ = try VideoWriter(to: folder.file("a.mp4"), frameRate: 10, options: options) }?.code
                == .invalidArgument)
        #expect(folder.contents == ["folder.mp4"])
    }

    @Test(
        "odd names are kept as they are",
        arguments: ["-v.mp4", "a b.mp4", "caf\u{E9} 🎬.gif", "file:x.mp4", "%d.mp4", "a\nb.png"])
    func names(_ name: String) throws {
        let folder = try TemporaryFolder()
        try gradientClip(frames: 1, width: 16, height: 16).write(to: folder.file(name))
        #expect(folder.contents == [name])
        #expect(try Clip(contentsOf: folder.file(name)).frameCount == 1)
    }

    @Test("no frames, frames of two sizes and two frames in one picture are refused")
    func frames() throws {
        let folder = try TemporaryFolder()
        let writer = try VideoWriter(to: folder.file("a.mp4"), frameRate: 10)
        #expect(mediaError { _ = try writer.finish() }?.code == .noFrames)
        let sizes = try VideoWriter(to: folder.file("a.mp4"), frameRate: 10)
        try sizes.append(flat(1, 2, 3, width: 16, height: 16))
        #expect(mediaError { try sizes.append(flat(1, 2, 3, width: 18, height: 16)) }?.code == .invalidPixels)
        sizes.cancel()
        let two = try gradientClip(frames: 2, width: 16, height: 16)
        let error = mediaError { try two.write(to: folder.file("a.png")) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("a_%04d.png") == true)
        #expect(mediaError { _ = try Clip(pixels: .zeros([2, 4, 4, 3]), frameRate: 1) }?.code == .invalidPixels)
        #expect(folder.contents == [])
    }

    @Test("a full disk is an error and leaves nothing behind", arguments: ["mp4", "webm", "gif", "png", "apng"])
    func fullDisk(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let mount = Process()
        mount.executableURL = URL(fileURLWithPath: "/bin/mount")
        mount.arguments = ["-t", "tmpfs", "-o", "size=16k", "tmpfs", folder.url.path]
        mount.standardError = FileHandle.nullDevice
        guard FileManager.default.isExecutableFile(atPath: "/bin/mount"), (try? mount.run()) != nil else { return }
        mount.waitUntilExit()
        // Mounting is a privilege; without it there is no small disk to fill.
        guard mount.terminationStatus == 0 else { return }
        defer {
            let umount = try? Process.run(URL(fileURLWithPath: "/bin/umount"), arguments: [folder.url.path])
            umount?.waitUntilExit()
        }
        var generator = SystemRandomNumberGenerator()
        let count = kind == "png" ? 1 : 10
        let noise = (0..<count * 128 * 128 * 3).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let clip = try Clip(pixels: Tensor(noise, shape: [count, 128, 128, 3]), frameRate: 10)
        let error = mediaError { try clip.write(to: folder.file("a.\(kind)")) }
        #expect(error?.code == .cannotWrite)
        #expect(error?.message.contains("space") == true, "\(error?.message ?? "no error")")
        #expect(folder.contents == [])
    }
}
