import Foundation
import Tensors
import Testing

@testable import Media

@Suite("Writing and reading back")
struct RoundTripTests {
    @Test(
        "a video keeps its frames, size and rate",
        arguments: ["mp4", "mov", "mkv", "webm", "gif", "apng"], [(64, 48), (63, 47), (2, 2), (1, 1)])
    func video(_ kind: String, _ size: (Int, Int)) throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 12, width: size.0, height: size.1)
        let file = folder.file("clip.\(kind)")
        let written = try clip.write(to: file)
        #expect(written.frameCount == 12)
        #expect(folder.contents == ["clip.\(kind)"])
        let back = try Clip(contentsOf: file)
        #expect(back.frameCount == 12)
        #expect(back.report.isClean)
        #expect((back.width, back.height) == (written.width, written.height))
        #expect(abs(back.frameRate - 10) < 0.01)
        for (index, time) in back.timestamps.enumerated() { #expect(abs(time - Double(index) / 10) < 0.002) }
        let isPadded = ["mp4", "mov", "mkv"].contains(kind) && size.0 % 2 == 1
        #expect(written.notes.isEmpty == !isPadded)
        #expect((written.width, written.height) == (isPadded ? (size.0 + 1, size.1 + 1) : size))
        if kind == "apng" { #expect(difference(back.pixels, clip.pixels).largest == 0) }
        // Two by two pixels share one colour sample in 4:2:0.
        if kind != "gif", size.0 > 2 {
            for t in [0, 5, 11] {
                #expect(isClose(pixel(back, t, 0, 0), pixel(clip, t, 0, 0), within: 12), "frame \(t)")
            }
        }
        if !isPadded, size.0 > 2 { #expect(difference(back.pixels, clip.pixels).mean < (kind == "gif" ? 8 : 2)) }
    }

    @Test("lossless files return every bit", arguments: ["mp4", "mkv", "webm", "apng"], [(64, 48), (33, 17)])
    func lossless(_ kind: String, _ size: (Int, Int)) throws {
        let folder = try TemporaryFolder()
        var noise = SystemRandomNumberGenerator()
        let values = (0..<5 * size.0 * size.1 * 3).map { _ in UInt8.random(in: 0...255, using: &noise) }
        let clip = try Clip(pixels: Tensor(values, shape: [5, size.1, size.0, 3]), frameRate: 24)
        var options = VideoWriter.Options()
        options.isLossless = true
        let file = folder.file("clip.\(kind)")
        try clip.write(to: file, options: options)
        let back = try Clip(contentsOf: file)
        #expect(difference(back.pixels, clip.pixels).largest == 0)
    }

    @Test(
        "a picture keeps its size and colours", arguments: ["png", "jpg", "jpeg", "webp"], [(64, 48), (31, 17), (1, 1)])
    func still(_ kind: String, _ size: (Int, Int)) throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 1, width: size.0, height: size.1)
        let file = folder.file("picture.\(kind)")
        try clip.write(to: file)
        let reader = try VideoReader(file)
        #expect(reader.info.isStill)
        let back = try reader.readAll()
        #expect(back.pixels.shape == clip.pixels.shape)
        #expect(back.report.isClean)
        #expect(difference(back.pixels, clip.pixels).largest <= (kind == "png" ? 0 : 12))
    }

    @Test("equal frames give equal bytes", arguments: ["mp4", "webm", "gif", "png", "jpg", "webp", "apng"])
    func deterministic(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: ["png", "jpg", "webp"].contains(kind) ? 1 : 20, width: 96, height: 64)
        try clip.write(to: folder.file("a.\(kind)"))
        try clip.write(to: folder.file("b.\(kind)"))
        #expect(try Data(contentsOf: folder.file("a.\(kind)")) == Data(contentsOf: folder.file("b.\(kind)")))
    }

    @Test("a numbered series has one picture per frame")
    func series() throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 3, width: 8, height: 6)
        let written = try clip.write(to: folder.file("f_%04d.png"))
        #expect(written.files.map(\.lastPathComponent) == ["f_0000.png", "f_0001.png", "f_0002.png"])
        #expect(folder.contents == ["f_0000.png", "f_0001.png", "f_0002.png"])
        let last = try Clip(contentsOf: folder.file("f_0002.png"))
        #expect(pixel(last, 0, 3, 4) == pixel(clip, 2, 3, 4))
    }

    @Test("the frame rate survives", arguments: [1.0, 12.5, 23.976, 24, 29.97, 30, 60, 120])
    func rates(_ rate: Double) throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 8, width: 16, height: 16, frameRate: rate)
        try clip.write(to: folder.file("clip.mp4"))
        let back = try Clip(contentsOf: folder.file("clip.mp4"))
        #expect(back.frameCount == 8)
        #expect(abs(back.frameRate - rate) < 0.001)
    }

    @Test("frames appended one by one make the same file as all at once")
    func streaming() throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 6, width: 32, height: 32)
        try clip.write(to: folder.file("a.mp4"))
        let writer = try VideoWriter(to: folder.file("b.mp4"), frameRate: 10)
        let reader = try VideoReader(folder.file("a.mp4"))
        #expect(reader.info.frameCount == 6)
        var count = 0
        try reader.forEachFrame { _ in count += 1 }
        #expect(count == 6)
        let bytes = clip.pixels.scalars(UInt8.self)
        for t in 0..<6 {
            let frame = Array(bytes[t * 3072..<(t + 1) * 3072])
            try writer.append(Tensor(frame, shape: [32, 32, 3]))
        }
        _ = try writer.finish()
        #expect(try Data(contentsOf: folder.file("a.mp4")) == Data(contentsOf: folder.file("b.mp4")))
    }

    @Test("a cancelled or forgotten writer leaves nothing and keeps the old file")
    func cancelling() throws {
        let folder = try TemporaryFolder()
        let clip = try gradientClip(frames: 4, width: 16, height: 16)
        try Data("old".utf8).write(to: folder.file("clip.mp4"))
        do {
            let writer = try VideoWriter(to: folder.file("clip.mp4"), frameRate: 10)
            try writer.append(clip.pixels)
            #expect(folder.contents.count == 2)
            writer.cancel()
            #expect(folder.contents == ["clip.mp4"])
            #expect(mediaError { try writer.append(clip.pixels) }?.code == .cannotWrite)
            #expect(mediaError { _ = try writer.finish() }?.code == .cannotWrite)
            let forgotten = try VideoWriter(to: folder.file("clip.mp4"), frameRate: 10)
            try forgotten.append(clip.pixels)
        }
        #expect(folder.contents == ["clip.mp4"])
        #expect(try Data(contentsOf: folder.file("clip.mp4")) == Data("old".utf8))
    }
}
