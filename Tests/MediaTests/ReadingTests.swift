import Foundation
import Tensors
import Testing

@testable import Media

@Suite("Reading what others wrote", .enabled(if: ffmpegPath != nil, "the ffmpeg command line is not installed"))
struct ReadingTests {
    @Test(
        "every pixel format becomes the colours a person expects",
        arguments: [
            "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuva420p", "gbrp",
            "gbrp10le",
            "bgr0", "rgb48le", "bgra",
        ])
    func pixelFormats(_ format: String) throws {
        let folder = try TemporaryFolder()
        let codec = format == "bgr0" || format == "bgra" || format == "rgb48le" ? "ffv1" : "ffv1"
        try ffmpeg(
            "-f lavfi -i color=c=0xC86432:s=32x32:d=0.5:r=10 -pix_fmt \(format) -c:v \(codec) a.mkv", in: folder)
        let clip = try Clip(contentsOf: folder.file("a.mkv"))
        #expect(clip.pixels.shape == [5, 32, 32, 3])
        #expect(isClose(pixel(clip, 2, 16, 16), [0xC8, 0x64, 0x32], within: 3), "\(pixel(clip, 2, 16, 16))")
    }

    @Test("gray keeps its levels", arguments: ["gray", "gray10le", "gray16le", "ya8"])
    func gray(_ format: String) throws {
        let folder = try TemporaryFolder()
        let kind = format == "gray10le" ? "mkv" : "png"
        let codec = format == "gray10le" ? "ffv1" : "png"
        for level in [0, 50, 128, 255] {
            let hex = String(format: "0x%02X%02X%02X", level, level, level)
            try ffmpeg(
                "-f lavfi -i color=c=\(hex):s=16x16:d=0.1:r=10,format=rgb24 -pix_fmt \(format) -c:v \(codec) g.\(kind)",
                in: folder)
            let clip = try Clip(contentsOf: folder.file("g.\(kind)"))
            #expect(isClose(pixel(clip, 0, 8, 8), [level, level, level], within: 1), "\(pixel(clip, 0, 8, 8))")
        }
    }

    @Test(
        "matrix and range that the file names are honoured", arguments: ["bt709", "smpte170m", "bt2020nc"],
        ["tv", "pc"])
    func matrices(_ matrix: String, _ range: String) throws {
        let folder = try TemporaryFolder()
        let scale = matrix == "bt2020nc" ? "bt2020" : matrix == "bt709" ? "bt709" : "smpte170m"
        for (hex, expected) in [("0xFF0000", [255, 0, 0]), ("0x00FF00", [0, 255, 0]), ("0x808080", [128, 128, 128])] {
            try ffmpeg(
                "-f lavfi -i color=c=\(hex):s=32x32:d=0.2:r=10,format=rgb24 -vf "
                    + "scale=out_color_matrix=\(scale):out_range=\(range),format=yuv444p -c:v ffv1 "
                    + "-colorspace \(matrix) -color_range \(range) a.mkv", in: folder)
            let clip = try Clip(contentsOf: folder.file("a.mkv"))
            #expect(isClose(pixel(clip, 0, 16, 16), expected, within: 2), "\(hex) \(pixel(clip, 0, 16, 16))")
        }
    }

    @Test("transparent pixels lie over the background")
    func alpha() throws {
        let folder = try TemporaryFolder()
        try ffmpeg("-f lavfi -i color=c=0xFF0000@0.5:s=8x8:d=0.1:r=10,format=rgba -frames:v 1 a.png", in: folder)
        var options = VideoReader.Options()
        #expect(isClose(pixel(try Clip(contentsOf: folder.file("a.png")), 0, 4, 4), [128, 0, 0], within: 2))
        options.background = (255, 255, 255)
        let white = try Clip(contentsOf: folder.file("a.png"), options: options)
        #expect(isClose(pixel(white, 0, 4, 4), [255, 127, 127], within: 2))
    }

    @Test("rotation in the display matrix is applied", arguments: [0, 90, 180, 270])
    func rotation(_ angle: Int) throws {
        let folder = try TemporaryFolder()
        // Red upper left quarter on blue.
        try ffmpeg(
            "-f lavfi -i color=c=blue:s=64x32:d=0.5:r=10 -vf drawbox=0:0:32:16:red:fill -c:v libx264 -crf 5 a.mp4",
            in: folder)
        try ffmpeg("-i a.mp4 -c copy -metadata:s:v:0 rotate=\(angle) b.mp4", in: folder)
        let reader = try VideoReader(folder.file("b.mp4"))
        let clip = try reader.readAll()
        let turned = angle % 180 == 90
        #expect((reader.info.width, reader.info.height) == (turned ? (32, 64) : (64, 32)))
        #expect((clip.width, clip.height) == (turned ? (32, 64) : (64, 32)))
        // FFmpeg 5.1 writes the angle as counterclockwise: at 90 the upper left corner goes to the lower left.
        let (x, y) = [0: (4, 4), 90: (4, 59), 180: (59, 27), 270: (27, 4)][angle] ?? (0, 0)
        #expect(pixel(clip, 0, y, x)[0] > 200, "\(pixel(clip, 0, y, x))")
        #expect(pixel(clip, 0, clip.height - 1 - y, clip.width - 1 - x)[2] > 200)
        var options = VideoReader.Options()
        options.appliesOrientation = false
        #expect(try VideoReader(folder.file("b.mp4"), options: options).info.width == 64)
    }

    @Test("frames of variable rate keep their times")
    func variableRate() throws {
        let folder = try TemporaryFolder()
        try ffmpeg(
            "-f lavfi -i testsrc=s=32x32:r=10:d=2 -vf select=lt(n\\,5)+gt(n\\,14) -vsync vfr -c:v libx264 -bf 2 a.mp4",
            in: folder)
        let clip = try Clip(contentsOf: folder.file("a.mp4"))
        #expect(clip.frameCount == 10)
        #expect(abs(clip.timestamps[4] - 0.4) < 1e-3)
        #expect(abs(clip.timestamps[5] - 1.5) < 1e-3)
        // At 1 s the frame of 0.4 s is still on screen.
        let sampled = try VideoReader(folder.file("a.mp4")).read(startSeconds: 0, frameRate: 2, frameCount: 4)
        #expect(sampled.timestamps == [0, 0.5, 1, 1.5])
        #expect(pixel(sampled, 1, 16, 16) == pixel(clip, 4, 16, 16))
        #expect(pixel(sampled, 2, 16, 16) == pixel(clip, 4, 16, 16))
        #expect(pixel(sampled, 3, 16, 16) == pixel(clip, 5, 16, 16))
    }

    @Test("sampling by time equals picking from all frames", arguments: ["mp4", "mkv", "webm", "gif", "avi", "ts"])
    func sampling(_ kind: String) throws {
        let folder = try TemporaryFolder()
        let codec =
            kind == "webm"
            ? "-c:v libvpx-vp9 -cpu-used 8" : kind == "gif" || kind == "avi" ? "" : "-c:v libx264 -g 12 -bf 2"
        try ffmpeg(
            "-f lavfi -i testsrc=s=48x32:r=24:d=6 -pix_fmt yuv420p \(codec) a.\(kind)".replacingOccurrences(
                of: kind == "gif" ? "-pix_fmt yuv420p " : "\u{0}", with: ""), in: folder)
        let file = folder.file("a.\(kind)")
        let all = try Clip(contentsOf: file)
        #expect(all.frameCount == 144)
        var generator = SystemRandomNumberGenerator()
        let reader = try VideoReader(file)
        for round in 0..<12 {
            let start = round == 0 ? 0 : Double.random(in: 0..<5.2, using: &generator)
            let rate = [24.0, 8, 10, 30][round % 4]
            let clip = try reader.read(startSeconds: start, frameRate: rate, frameCount: 6)
            #expect(clip.frameCount == 6)
            let tolerance = reader.timeTolerance
            for index in 0..<6 {
                let time = start + Double(index) / rate
                let source = all.timestamps.lastIndex { $0 <= time + tolerance } ?? 0
                let expected = frame(all, source)
                #expect(
                    frame(clip, index) == expected, "\(kind) start \(start) rate \(rate) frame \(index) -> \(source)")
            }
        }
        let byIndex = try reader.read(fromFrame: 7, stride: 3, frameCount: 5)
        for index in 0..<5 { #expect(frame(byIndex, index) == frame(all, 7 + 3 * index)) }
        let native = try reader.read(startSeconds: all.timestamps[50], frameCount: 3)
        for index in 0..<3 { #expect(frame(native, index) == frame(all, 50 + index)) }
    }

    private func frame(_ clip: Clip, _ index: Int) -> [UInt8] {
        let size = clip.width * clip.height * 3
        return clip.pixels.withUnsafeBytes { Array($0[index * size..<(index + 1) * size]) }
    }

    @Test("a short clip repeats its last frame, fails, or comes back shorter")
    func shortClips() throws {
        let folder = try TemporaryFolder()
        try gradientClip(frames: 1, width: 16, height: 16).write(to: folder.file("one.mp4"))
        let reader = try VideoReader(folder.file("one.mp4"))
        let repeated = try reader.read(startSeconds: 0, frameRate: 10, frameCount: 16)
        #expect(repeated.frameCount == 16)
        #expect(frame(repeated, 15) == frame(repeated, 0))
        #expect(mediaError { _ = try reader.read(fromFrame: 0, frameCount: 16, shortClip: .fail) }?.code == .tooShort)
        #expect(try reader.read(fromFrame: 0, frameCount: 16, shortClip: .shorten).frameCount == 1)
        #expect(mediaError { _ = try reader.read(fromFrame: 3) }?.code == .tooShort)
        #expect(try reader.read(startSeconds: 100, frameRate: 5, frameCount: 2).frameCount == 2)
        #expect(
            mediaError { _ = try reader.read(startSeconds: 100, frameRate: 5, frameCount: 2, shortClip: .fail) }?.code
                == .tooShort)
    }

    @Test("threads do not change a pixel")
    func threads() throws {
        let folder = try TemporaryFolder()
        try ffmpeg("-f lavfi -i testsrc=s=160x120:r=24:d=2 -pix_fmt yuv420p -c:v libx264 a.mp4", in: folder)
        var options = VideoReader.Options()
        options.threadCount = 1
        let one = try Clip(contentsOf: folder.file("a.mp4"), options: options)
        options.threadCount = 4
        let four = try Clip(contentsOf: folder.file("a.mp4"), options: options)
        #expect(difference(one.pixels, four.pixels).largest == 0)
    }

    @Test("a size that changes on the way is brought to the first frame's")
    func sizeChange() throws {
        let folder = try TemporaryFolder()
        try ffmpeg("-f lavfi -i testsrc=s=64x48:r=10:d=0.5 -pix_fmt yuv420p -c:v libx264 -f h264 a.h264", in: folder)
        try ffmpeg("-f lavfi -i testsrc=s=96x64:r=10:d=0.5 -pix_fmt yuv420p -c:v libx264 -f h264 b.h264", in: folder)
        let joined = try Data(contentsOf: folder.file("a.h264")) + Data(contentsOf: folder.file("b.h264"))
        try joined.write(to: folder.file("c.h264"))
        let clip = try Clip(contentsOf: folder.file("c.h264"))
        #expect(clip.frameCount == 10)
        #expect((clip.width, clip.height) == (64, 48))
        #expect(clip.report.rescaledFrames == 5)
    }

    @Test("the cover picture of a song is no video, and sound beside a video does not matter")
    func streams() throws {
        let folder = try TemporaryFolder()
        try ffmpeg(
            "-f lavfi -i testsrc=s=32x32:r=10:d=1 -f lavfi -i sine=d=3 -pix_fmt yuv420p -c:v libx264 -c:a aac a.mp4",
            in: folder)
        #expect(try Clip(contentsOf: folder.file("a.mp4")).frameCount == 10)
        try ffmpeg("-f lavfi -i sine=d=1 -c:a aac b.mp4", in: folder)
        #expect(mediaError { _ = try VideoReader(folder.file("b.mp4")) }?.code == .noFrames)
        try ffmpeg("-f lavfi -i color=red:s=16x16 -frames:v 1 c.png", in: folder)
        try ffmpeg("-i b.mp4 -i c.png -map 0 -map 1 -c copy -disposition:v:0 attached_pic d.mp4", in: folder)
        let cover = mediaError { _ = try VideoReader(folder.file("d.mp4")) }
        #expect(cover?.code == .noFrames)
        #expect(cover?.message.contains("cover") == true)
    }

    @Test("EXIF orientation turns a photograph upright", arguments: 1...8)
    func exif(_ orientation: Int) throws {
        let folder = try TemporaryFolder()
        // Quarters: red, green / blue, white in a 32 x 16 picture as stored.
        try ffmpeg(
            "-f lavfi -i color=c=white:s=32x16 -vf format=rgb24,drawbox=0:0:16:8:red:fill,drawbox=16:0:16:8:lime:fill,"
                + "drawbox=0:8:16:8:blue:fill -frames:v 1 -pix_fmt yuvj444p -q:v 1 a.jpg", in: folder)
        let plain = try Data(contentsOf: folder.file("a.jpg"))
        let exif: [UInt8] =
            [0xFF, 0xE1, 0x00, 0x22] + Array("Exif\0\0MM\0*".utf8) + [0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1]
            + [0, UInt8(orientation), 0, 0, 0, 0, 0, 0]
        try (plain.prefix(2) + Data(exif) + plain.dropFirst(2)).write(to: folder.file("b.jpg"))
        let clip = try Clip(contentsOf: folder.file("b.jpg"))
        let isTurned = orientation >= 5
        #expect((clip.width, clip.height) == (isTurned ? (16, 32) : (32, 16)))
        // Upper left, upper right, lower left, lower right as shown.
        let names = ["r": [255, 0, 0], "g": [0, 255, 0], "b": [0, 0, 255], "w": [255, 255, 255]]
        let shown = ["rgbw", "grwb", "wbgr", "bwrg", "rbgw", "brwg", "wgbr", "gwrb"][orientation - 1]
        let (w, h) = (clip.width, clip.height)
        let places = [(2, 2), (2, w - 3), (h - 3, 2), (h - 3, w - 3)]
        for (letter, place) in zip(shown, places) {
            let found = pixel(clip, 0, place.0, place.1)
            #expect(isClose(found, names[String(letter)] ?? [], within: 40), "\(orientation) \(letter) \(found)")
        }
    }
}
