import Foundation
import Media
import Tensors
import Testing
import Tokenizers

@testable import Transforms

@Suite("Pictures with boxes")
struct DetectionTests {
    private static func target() throws -> DetectionTarget {
        let numbers = try Reference.tensor("mdetr/boxes").scalars(Float.self)
        let items = (0..<3).map { index in
            let box = BoxCorners(
                left: numbers[4 * index], top: numbers[4 * index + 1], right: numbers[4 * index + 2],
                bottom: numbers[4 * index + 3])
            return DetectionTarget.Item(box: box, area: (box.right - box.left) * (box.bottom - box.top))
        }
        return DetectionTarget(items: items, caption: "a dog", size: ImageSize(height: 29, width: 37))
    }

    @Test("evaluation resizes picture and boxes as MDETR does")
    func evaluation() throws {
        let source = try Reference.tensor("source")
        for (index, (side, longest)) in [(20, 24), (60, 1333), (29, 100), (45, 50)].enumerated() {
            let transform = try MDETRTransform(shorterSides: [side], longestSide: longest, isTraining: false)
            let (image, target) = try transform(source, Self.target())
            let expected = try Reference.tensor("mdetr/image/\(index)")
            let found =
                index == 0 || index == 2
                ? image : image.sliced(1, 0..<image.shape[1], step: 7).sliced(2, 0..<image.shape[2], step: 7)
            #expect(largest(found, expected) == 0, "case \(index)")
            #expect(largest(target.boxes, try Reference.tensor("mdetr/scaled/\(index)")) < 1e-6)
            #expect(target.originalSize == ImageSize(height: 29, width: 37))
        }
    }

    @Test("a part cuts boxes at its edges and drops those outside")
    func crop() throws {
        let cut = try Self.target().cropped(ImageCrop(top: 5, left: 1, height: 10, width: 20))
        #expect(
            cut.items.map(\.box) == [
                BoxCorners(left: 1, top: 0, right: 19, bottom: 10), BoxCorners(left: 0, top: 0, right: 20, bottom: 10),
            ])
        #expect(cut.items.map(\.area) == [180, 200])
        #expect(cut.size == ImageSize(height: 10, width: 20))
    }

    @Test("boxes outside of the picture are cut or dropped")
    func cutting() {
        let boxes = [
            BoxCorners(left: -5, top: -5, right: 5, bottom: 50), BoxCorners(left: 40, top: 0, right: 50, bottom: 9),
            BoxCorners(left: 3, top: 3, right: 3, bottom: 9),
        ]
        let target = DetectionTarget(
            items: boxes.map { .init(box: $0, area: 1) }, caption: "", size: ImageSize(height: 29, width: 37))
        #expect(target.items.map(\.box) == [BoxCorners(left: 0, top: 0, right: 5, bottom: 29)])
        #expect(DetectionTarget(items: [], caption: "", size: ImageSize(3)).boxes.shape == [0, 4])
    }

    @Test("mirroring moves boxes, exchanges words and moves what speaks of them")
    func mirroring() {
        let caption = "Left: the bright dog left of a man on the right"
        func span(_ word: String) -> Range<Int> {
            let start = caption.distance(
                from: caption.startIndex, to: caption.range(of: word)?.lowerBound ?? caption.endIndex)
            return start..<start + word.count
        }
        let item = DetectionTarget.Item(
            box: BoxCorners(left: 2, top: 1, right: 8, bottom: 6), area: 30,
            spans: [span("the bright dog"), span("left of"), span("the right")])
        let target = DetectionTarget(items: [item], caption: caption, size: ImageSize(height: 10, width: 30))
        let flipped = target.mirrored()
        #expect(flipped.caption == "Right: the bright dog right of a man on the left")
        #expect(flipped.items[0].box == BoxCorners(left: 22, top: 1, right: 28, bottom: 6))
        let scalars = Array(flipped.caption.unicodeScalars)
        let texts = flipped.items[0].spans.map { range in String(String.UnicodeScalarView(scalars[range])) }
        #expect(texts == ["the bright dog", "right of", "the left"])
        #expect(flipped.mirrored().caption == caption)
        #expect(flipped.mirrored().items == target.items)
    }

    @Test("training keeps boxes inside the picture, the same for the same key")
    func training() throws {
        let source = try Reference.tensor("source")
        var transform = try MDETRTransform(shorterSides: [20, 30, 40], longestSide: 60, isTraining: true)
        transform.sidesBeforeCrop = [32, 36]
        transform.smallestCrop = 20
        transform.mirrorProbability = 0.5
        for seed in 0..<40 {
            let key = RandomKey(seed: UInt64(seed))
            let (image, target) = try transform(source, Self.target(), key: key)
            #expect(image.shape[1] == target.size.height && image.shape[2] == target.size.width)
            #expect(max(image.shape[1], image.shape[2]) <= 60)
            #expect(target.boxes.scalars(Float.self).allSatisfy { $0 >= -1e-6 && $0 <= 1 + 1e-6 })
            #expect(!target.items.isEmpty)
            let again = try transform(source, Self.target(), key: key)
            #expect(largest(image, again.image) == 0 && target.items == again.target.items)
        }
        #expect(sentence { _ = try transform(source, Self.target()) }?.contains("needs a key") == true)
        let other = DetectionTarget(items: [], caption: "", size: ImageSize(5))
        #expect(
            sentence { _ = try transform(source, other, key: RandomKey(seed: 1)) }?.contains("5 x 5 pixels") == true)
    }

    @Test("a positive map covers the tokens of each span, and looks two characters further where there is none")
    func map() throws {
        // "a big dog": tokens a, big, dog between start and end.
        let offsets: [Range<Int>?] = [nil, 0..<1, 2..<5, 6..<9, nil]
        let map = positiveMap(spans: [[0..<5], [5..<9], [1..<2], [6..<9, 0..<1], []], offsets: offsets, width: 8)
        #expect(map.shape == [5, 8])
        let rows = (0..<5).map { map.selected(0, $0).scalars(Float.self) }
        #expect(
            rows.map { $0.enumerated().filter { $0.element > 0.01 }.map(\.offset) } == [[1, 2], [3], [], [1, 3], []])
        #expect(abs(rows[0][1] - 0.5) < 1e-5)
        // A span of one space begins at the word behind it and ends at the word before it: it has no token.
        #expect(rows[2].allSatisfy { $0 == 0 })
        #expect(positiveMap(spans: [[6..<9]], offsets: offsets, width: 2).scalars(Float.self) == [0, 0])
    }
}
