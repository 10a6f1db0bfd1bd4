import Foundation
import Media
import Tensors
import Testing

@testable import Transforms

@Suite("Pictures from files")
struct DecodingTests {
    private static func read(_ name: String, isUpright: Bool = false) throws -> Tensor {
        try readImage(
            MediaSource(Reference.folder.appendingPathComponent("pictures").appendingPathComponent(name)),
            isUpright: isUpright)
    }

    @Test(
        "files that lose nothing give Pillow's pixels",
        arguments: [
            "rgb.png", "rgba.png", "gray.png", "gray_alpha.png", "palette.png", "palette_clear.png", "bits.png",
            "lossless.webp", "plain.bmp",
        ])
    func exact(_ name: String) throws {
        #expect(largest(try Self.read(name), try Reference.tensor("decoded/\(name)")) == 0)
    }

    @Test("a picture that is cut off is refused, and what lies behind its end is nobody's business")
    func cutOff() throws {
        let url = Reference.folder.appendingPathComponent("pictures").appendingPathComponent("full.jpg")
        let bytes = try Data(contentsOf: url)
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID()).jpg")
        defer { try? FileManager.default.removeItem(at: file) }
        func read(_ bytes: Data) throws -> Tensor {
            try bytes.write(to: file)
            return try readImage(MediaSource(file))
        }
        for share in [0.5, 0.75, 0.95] {
            let error = #expect(throws: MediaError.self) {
                try read(bytes.prefix(Int(Double(bytes.count) * share)))
            }
            #expect(error?.code == .damaged)
            #expect(error?.message.contains("is cut off") == true)
        }
        // As phones do that add a film.
        let more = try read(bytes + Data(repeating: 7, count: 100_000))
        #expect(largest(more, try read(bytes)) == 0)
    }

    // Where colours are stored at half the size, decoders differ in how they enlarge them; the pictures here are waves a few
    // pixels long, which is as bad as it gets.
    @Test(
        "JPEG and WebP decoders differ by a level or two, and by more where colours have half the size",
        arguments: [
            ("full.jpg", 2.0), ("halved.jpg", 16), ("gray.jpg", 1), ("cmyk.jpg", 2), ("rotated.jpg", 2),
            ("progressive.jpg", 16), ("lossy.webp", 16),
        ])
    func close(_ name: String, _ limit: Double) throws {
        let (found, expected) = (try Self.read(name), try Reference.tensor("decoded/\(name)"))
        #expect(largest(found, expected) <= limit)
        let levels = zip(found.scalars(UInt8.self), expected.scalars(UInt8.self)).map { abs(Int($0) - Int($1)) }
        let mean = Double(levels.reduce(0, +)) / Double(levels.count)
        #expect(mean < (limit > 2 ? 3 : 1))
    }

    @Test("16-bit samples are scaled to 8")
    func deep() throws {
        #expect(largest(try Self.read("rgb16.png"), try Reference.tensor("decoded/rgb16.png")) <= 1)
        // Pillow shows 16-bit gray as white wherever it is above 255.
        #expect(try Reference.tensor("decoded/gray16.png").scalars(UInt8.self).filter { $0 < 255 }.count < 200)
        let gray = try Self.read("gray16.png").sliced(2, 0..<1).squeezed(2)
        #expect(largest(gray, try Reference.tensor("decoded/gray16.exact")) <= 1.5)
    }

    @Test("a turned picture is upright where that is asked for")
    func orientation() throws {
        #expect(try Self.read("rotated.jpg").shape == [22, 30, 3])
        #expect(try Self.read("rotated.jpg", isUpright: true).shape == [30, 22, 3])
    }

    @Test("a picture and its depth become four planes")
    func depth() throws {
        func source(_ name: String) -> MediaSource {
            MediaSource(Reference.folder.appendingPathComponent("pictures/\(name)"))
        }
        let found = try readImageWithDepth(
            source("rgb.png"), depth: source("gray16.png"), baseline: 0.075, focalLength: 500)
        #expect(found.shape == [4, 22, 30])
        // Levels as Pillow reads them, in millimetres.
        let levels = try Reference.tensor("decoded/gray16.exact").scalars(Float.self).map { ($0 * 257).rounded() }
        let disparities = found.selected(0, 3).scalars(Float.self)
        for (level, disparity) in zip(levels, disparities) where level > 0 {
            #expect(abs(disparity - 37.5 / (level / 1000)) <= 1e-4 * disparity)
        }
        #expect(levels.contains { $0 > 40_000 })
        let message = sentence {
            _ = try readImageWithDepth(source("rgb.png"), depth: source("rgba.png"), baseline: 1, focalLength: 1)
        }
        #expect(message?.contains("gray ones are needed") == true)
    }
}
