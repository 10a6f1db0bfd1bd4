import Foundation
import Tensors
import Testing

@testable import Media

@Suite("Media inside other files")
struct RangeReadingTests {
    private let names = ["a.mp4", "a.mkv", "a.gif", "a.apng", "a.png", "a.jpg", "a.webp"]

    /// All of them in one file, with noise around, and where each lies.
    private func archive(_ folder: TemporaryFolder) throws -> (url: URL, ranges: [Range<Int>]) {
        var bytes = Data()
        var ranges: [Range<Int>] = []
        for name in names {
            let url = folder.file(name)
            let isStill = try MediaFormat(destination: url).isStill
            try gradientClip(frames: isStill ? 1 : 40, width: 34, height: 18).write(to: url)
            bytes += Data((0..<777).map { UInt8(($0 * 31 + ranges.count) & 255) })
            let media = try Data(contentsOf: url)
            ranges.append(bytes.count..<bytes.count + media.count)
            bytes += media
        }
        bytes += Data("moov IEND ;".utf8)
        let url = folder.file("all")
        try bytes.write(to: url)
        return (url, ranges)
    }

    @Test("a part of a file is read as the file it was")
    func parts() throws {
        let folder = try TemporaryFolder()
        let (url, ranges) = try archive(folder)
        for (name, range) in zip(names, ranges) {
            let own = try VideoReader(folder.file(name))
            let part = try VideoReader(MediaSource(url, range: range, name: "all:\(name)"))
            #expect(part.info == own.info, "\(name)")
            let (a, b) = (try own.readAll(), try part.readAll())
            #expect(
                a.pixels.scalars(UInt8.self) == b.pixels.scalars(UInt8.self) && a.timestamps == b.timestamps, "\(name)")
            #expect(b.report == a.report && b.report.isClean, "\(name)")
            // Seeks and rewinding stay inside, too.
            for start in [3.5, 0.2, 2.9] where !own.info.isStill {
                let (a, b) = (
                    try own.read(startSeconds: start, frameCount: 2), try part.read(startSeconds: start, frameCount: 2)
                )
                #expect(a.pixels.scalars(UInt8.self) == b.pixels.scalars(UInt8.self), "\(name) at \(start)")
            }
        }
    }

    @Test("what lies behind a part is never seen: one that is cut off is damaged or unreadable, and named")
    func bounds() throws {
        let folder = try TemporaryFolder()
        let (url, ranges) = try archive(folder)
        for (name, range) in zip(names, ranges) {
            let source = MediaSource(
                url, range: range.lowerBound..<range.upperBound - range.count / 3, name: "all:\(name)")
            let clip = try? VideoReader(source).readAll()
            #expect(clip?.report.isClean != true, "\(name)")
        }
        let size = ranges[6].upperBound + 11
        for range in [size - 5..<size + 1, size..<size + 10, 5..<5, 0..<777] {
            let error = #expect(throws: MediaError.self) {
                try VideoReader(MediaSource(url, range: range, name: "the part"))
            }
            #expect(error?.code == .unreadable && error?.message.contains("the part") == true, "\(range)")
        }
    }

    @Test("held frames are those that were passed over")
    func holding() throws {
        let folder = try TemporaryFolder()
        try gradientClip(frames: 6, width: 16, height: 16).write(to: folder.file("a.gif"))
        let all = try VideoReader(folder.file("a.gif")).readAll()
        let reader = try VideoReader(folder.file("a.gif"))
        var index = 0
        while let time = try reader.skipFrame() {
            #expect(time == all.timestamps[index])
            try reader.holdFrame()
            if index % 2 == 1 {
                // Twice: converted once, kept after that.
                for _ in 0..<2 {
                    #expect(
                        try reader.heldPixels().scalars(UInt8.self)
                            == all.pixels.selected(0, index).contiguous().scalars(UInt8.self))
                }
            }
            index += 1
        }
        #expect(index == 6)
    }
}
