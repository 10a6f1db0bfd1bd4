import Foundation
import Tensors
import Testing

@testable import Media

@Suite("Pixels")
struct PixelTests {
    @Test(
        "pixels survive the way to floats and back",
        arguments: [0...1, -0.5...0.5, -1...1, 0...255] as [ClosedRange<Double>])
    func roundTrip(_ range: ClosedRange<Double>) throws {
        let clip = Tensor((0..<2 * 4 * 32 * 3).map { UInt8(truncatingIfNeeded: $0) }, shape: [2, 4, 32, 3])
        let values = try floatVideo(from: clip, range: range)
        #expect(values.shape == [3, 2, 4, 32])
        let numbers: [Float] = values.scalars()
        #expect(numbers.min() == Float(range.lowerBound) && numbers.max() == Float(range.upperBound))
        // Place (t, y, x, c) moves to (c, t, y, x).
        let place: Int = 128 + 2 * 32 + 5
        let level = Float(UInt8(truncatingIfNeeded: place * 3 + 1))
        #expect(
            numbers[256 + place] == level / 255 * Float(range.upperBound - range.lowerBound) + Float(range.lowerBound))
        #expect(try pixels(from: values, range: range).scalars(UInt8.self) == clip.scalars(UInt8.self))
        let batch = Tensor(clip.scalars(UInt8.self), shape: [2, 1, 4, 32, 3])
        let batched = try floatVideo(from: batch, range: range)
        #expect(batched.shape == [2, 3, 1, 4, 32])
        #expect(try pixels(from: batched, range: range).scalars(UInt8.self) == batch.scalars(UInt8.self))
    }

    @Test("values outside the range are clamped and NaN is refused")
    func clamping() throws {
        let values = Tensor([-1, 2, .infinity, -.infinity, 0.5, 0.25] as [Float], shape: [3, 1, 1, 2])
        #expect(try pixels(from: values, range: 0...1).scalars(UInt8.self) == [0, 255, 128, 255, 0, 64])
        let bad = Tensor([0, .nan, 0] as [Float], shape: [3, 1, 1, 1])
        #expect(mediaError { _ = try pixels(from: bad, range: 0...1) }?.code == .invalidPixels)
    }

    @Test("a flat picture stays flat and a mean stays the mean", arguments: Resampling.allCases)
    func flatness(_ method: Resampling) throws {
        for (from, to) in [
            ((7, 5), (3, 2)), ((3, 2), (9, 11)), ((1, 1), (4, 4)), ((64, 48), (16, 16)), ((5, 5), (1, 1)),
        ] {
            let out = try resized(flat(10, 100, 250, width: from.0, height: from.1), width: to.0, height: to.1, method)
            #expect(out.shape == [to.1, to.0, 3])
            #expect(difference(out, flat(10, 100, 250, width: to.0, height: to.1)).largest == 0)
        }
    }

    // Image.fromarray(a).resize((w, h), method), a[y, x, c] = (x * 37 + y * 91 + c * 50 + x * y * 3) % 256
    // for 8 x 6 pixels; made by Tests/Parity/make_resize_fixtures.py.
    @Test("resizing equals Pillow", arguments: PillowCase.all)
    func pillow(_ reference: PillowCase) throws {
        var values: [UInt8] = []
        for y in 0..<6 {
            for x in 0..<8 {
                for c in 0..<3 {
                    let value: Int = x * 37 + y * 91 + c * 50 + x * y * 3
                    values.append(UInt8(value % 256))
                }
            }
        }
        let source = Tensor(values, shape: [6, 8, 3])
        let out = try resized(source, width: reference.width, height: reference.height, reference.method)
        let expected = Tensor(reference.red, shape: [reference.height, reference.width])
        let all: [UInt8] = out.scalars()
        let reds: [UInt8] = (0..<all.count / 3).map { all[$0 * 3] }
        let red = Tensor(reds, shape: [reference.height, reference.width])
        #expect(difference(red, expected).largest == 0)
    }

    @Test("the centred part has the proportions of the target")
    func crops() throws {
        let crop = CropRectangle.centered(width: 100, height: 60, for: (32, 32))
        #expect(crop == CropRectangle(x: 20, y: 0, width: 60, height: 60))
        var values = [UInt8](repeating: 0, count: 60 * 100 * 3)
        for y in 0..<60 { for x in 20..<80 { for c in 0..<3 { values[(y * 100 + x) * 3 + c] = 200 } } }
        let out = try resizedAndCropped(Tensor(values, shape: [60, 100, 3]), width: 60, height: 60)
        #expect(difference(out, flat(200, 200, 200, width: 60, height: 60)).largest == 0)
    }

    @Test("a contact sheet lays frames out row by row")
    func sheet() throws {
        let clip = try gradientClip(frames: 5, width: 4, height: 3)
        let sheet = try contactSheet(clip.pixels, gap: 1)
        #expect(sheet.shape == [2 * 3 + 1, 3 * 4 + 2, 3])
        let bytes: [UInt8] = sheet.scalars()
        let frames: [UInt8] = clip.pixels.scalars()
        // Frame 4 stands in the second row and column; its pixel (1, 2).
        let onSheet: Int = ((4 + 1) * 14 + 5 + 2) * 3 + 2
        let inFrames: Int = ((4 * 3 + 1) * 4 + 2) * 3 + 2
        #expect(bytes[onSheet] == frames[inFrames])
        #expect(bytes[4 * 3] == 255)
        #expect(bytes[(4 * 14 + 10) * 3] == 255)
        #expect(mediaError { _ = try contactSheet(.zeros([0, 2, 2, 3], dtype: .uint8)) }?.code == .noFrames)
    }

    @Test("clips side by side keep their order and last frames")
    func rows() throws {
        let a = try gradientClip(frames: 2, width: 4, height: 3).pixels
        let b = try gradientClip(frames: 3, width: 5, height: 3).pixels
        let both = try sideBySide([a, b], gap: 2)
        #expect(both.shape == [3, 3, 11, 3])
        let out: [UInt8] = both.scalars()
        let (left, right): ([UInt8], [UInt8]) = (a.scalars(), b.scalars())
        let third: Int = 2 * 3 * 11
        #expect(out[third * 3 + 2] == left[1 * 3 * 4 * 3 + 2])
        #expect(out[(third + 6) * 3 + 2] == right[2 * 3 * 5 * 3 + 2])
        #expect(mediaError { _ = try sideBySide([a, .zeros([1, 9, 9, 3], dtype: .uint8)]) }?.code == .invalidPixels)
    }
}
