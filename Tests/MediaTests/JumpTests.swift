import Foundation
import Tensors
import Testing

@testable import Media

/// Beginning in the middle of a file.
@Suite("Jumps", .enabled(if: ffmpegPath != nil, "needs the ffmpeg command line"))
struct JumpTests {
    /// How a film is coded, and whether it has places to begin at.
    struct Coding: CustomTestStringConvertible, Sendable {
        var name: String
        var options: String
        var hasPlaces: Bool
        var testDescription: String { name }
    }

    static let codings = [
        Coding(name: "a.mp4", options: "-c:v libx264 -g 12 -bf 0", hasPlaces: true),
        Coding(name: "b-frames.mp4", options: "-c:v libx264 -g 12 -bf 3 -refs 4 -b-pyramid normal", hasPlaces: true),
        Coding(name: "b-frames.mkv", options: "-c:v libx264 -g 12 -bf 3 -refs 4 -b-pyramid strict", hasPlaces: true),
        Coding(name: "sound.mov", options: "-c:v libx264 -g 20 -bf 2 -c:a aac", hasPlaces: true),
        Coding(name: "open.mp4", options: "-c:v libx264 -bf 3 -x264-params keyint=12:open-gop=1", hasPlaces: false),
        Coding(name: "open.mkv", options: "-c:v libx264 -bf 3 -x264-params keyint=12:open-gop=1", hasPlaces: false),
        Coding(name: "refresh.mp4", options: "-c:v libx264 -x264-params keyint=12:intra-refresh=1", hasPlaces: false),
        Coding(
            name: "variable.mp4", options: "-c:v libx264 -g 12 -bf 2 -vf select=gt(mod(n\\,7)\\,2) -fps_mode vfr",
            hasPlaces: true),
        Coding(
            name: "variable.mkv", options: "-c:v libx264 -g 12 -bf 2 -vf select=gt(mod(n\\,7)\\,2) -fps_mode vfr",
            hasPlaces: true),
        Coding(
            name: "open-hevc.mp4", options: "-c:v libx265 -x265-params keyint=12:open-gop=1:bframes=3:log-level=none",
            hasPlaces: true),
        Coding(
            name: "closed-hevc.mkv", options: "-c:v libx265 -x265-params keyint=12:open-gop=0:log-level=none",
            hasPlaces: true),
        Coding(name: "vp8.webm", options: "-c:v libvpx -g 12 -auto-alt-ref 1 -cpu-used 8", hasPlaces: true),
        Coding(name: "vp9.webm", options: "-c:v libvpx-vp9 -g 12 -cpu-used 8", hasPlaces: true),
        Coding(name: "mpeg4.mp4", options: "-c:v mpeg4 -g 12 -bf 2", hasPlaces: false),
        Coding(name: "h264.ts", options: "-c:v libx264 -g 12 -bf 2", hasPlaces: false),
    ]

    private struct Frame: Equatable {
        var time: Double
        var pixels: [UInt8]
    }

    private func rest(of reader: VideoReader) throws -> [Frame] {
        var frames: [Frame] = []
        while let frame = try reader.nextFrame() {
            frames.append(Frame(time: frame.timestamp, pixels: frame.pixels.scalars(UInt8.self)))
        }
        return frames
    }

    private func write(_ coding: Coding, to folder: TemporaryFolder) throws {
        // Moving noise: every frame differs, and frames are predicted from each other all the same.
        let sound = coding.options.contains("-c:a") ? "-f lavfi -i sine=d=6 " : ""
        let filter = coding.options.contains("-vf") ? "" : "-vf noise=alls=12:allf=t "
        try ffmpeg(
            "-f lavfi -i testsrc2=s=48x32:r=24:d=6 \(sound)\(filter)-pix_fmt yuv420p \(coding.options) -threads 1 "
                + coding.name,
            in: folder)
    }

    @Test("parts at a rate are those of the whole, whose length is counted without pixels", arguments: codings)
    func parts(_ coding: Coding) throws {
        let folder = try TemporaryFolder()
        try write(coding, to: folder)
        for rate in [3.0, 16, 29.97] {
            let whole = try VideoReader(folder.file(coding.name)).read(startSeconds: 0, frameRate: rate).pixels
            let reader = try VideoReader(folder.file(coding.name))
            let count = try reader.frameCount(atRate: rate)
            #expect(count == whole.shape[0])
            for start in [0, count / 3, count - 5] {
                let part = try reader.read(startSeconds: Double(start) / rate, frameRate: rate, frameCount: 5).pixels
                let expected = whole.sliced(0, start..<start + 5)
                #expect(part.scalars(UInt8.self) == expected.scalars(UInt8.self), "\(coding.name) at \(rate), \(start)")
            }
        }
    }

    @Test("what follows a jump has the bits and times of decoding from the start", arguments: codings)
    func equality(_ coding: Coding) throws {
        let folder = try TemporaryFolder()
        try write(coding, to: folder)
        let whole = VideoReader.Options()
        let first = try VideoReader(folder.file(coding.name), options: whole)
        let all = try rest(of: first)
        #expect(all.count > 60 && first.report.isClean && first.report.replacedTimes == 0)
        let tolerance = first.timeTolerance
        var passedOver = 0
        for step in 0..<48 {
            let time = Double(step) / 8
            let reader = try VideoReader(folder.file(coding.name), options: whole)
            try reader.jump(to: time)
            let found = try rest(of: reader)
            let start = all.count - found.count
            #expect(found == Array(all[start...]), "\(coding.name) at \(time)")
            // The frame that is on screen is among them.
            let shown = all.lastIndex { $0.time <= time + tolerance } ?? 0
            #expect(start <= shown, "\(coding.name) at \(time): frames from \(start) on")
            passedOver += start
        }
        #expect(coding.hasPlaces ? passedOver > 48 * 30 : passedOver == 0, "\(coding.name): \(passedOver)")
    }
}
