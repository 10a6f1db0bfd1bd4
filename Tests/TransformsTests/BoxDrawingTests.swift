import Tensors
import Testing

@testable import Transforms

@Suite("Boxes drawn onto pictures")
struct BoxDrawingTests {
    private let gray = Tensor([UInt8](repeating: 128, count: 30 * 40 * 3), shape: [30, 40, 3])

    private func colour(_ picture: Tensor, _ y: Int, _ x: Int) -> [UInt8] {
        Array(picture.scalars(UInt8.self)[(y * picture.shape[1] + x) * 3..<(y * picture.shape[1] + x + 1) * 3])
    }

    @Test("a box has its colour on its edge, and the picture inside and outside")
    func edge() {
        let drawn = BoxDrawing.drawn([BoxCorners(left: 10, top: 5, right: 30, bottom: 25)], on: gray)
        for (y, x) in [(24, 10), (24, 29), (5, 29), (15, 29), (15, 10), (24, 20)] {
            #expect(colour(drawn, y, x) == BoxDrawing.colours[0], "\(y) \(x)")
        }
        for (y, x) in [(4, 20), (25, 20), (15, 9), (15, 30), (15, 20)] {
            #expect(colour(drawn, y, x) == [128, 128, 128], "\(y) \(x)")
        }
    }

    @Test("boxes have different colours, and the first box's number is a one")
    func numbers() {
        let boxes = [
            BoxCorners(left: 0, top: 0, right: 12, bottom: 12), BoxCorners(left: 20, top: 10, right: 38, bottom: 28),
        ]
        let drawn = BoxDrawing.drawn(boxes, on: gray)
        #expect(colour(drawn, 27, 30) == BoxDrawing.colours[1])
        // Rows of the digit: .#. ##. .#. .#. ###
        let ink = (1...5).map { y in (1...3).map { colour(drawn, y, $0) == [255, 255, 255] ? "#" : "." }.joined() }
        #expect(ink == [".#.", "##.", ".#.", ".#.", "###"])
    }

    @Test("boxes outside the picture, or without area, change nothing but its pixels")
    func outside() {
        let boxes = [
            BoxCorners(left: -50, top: -50, right: -10, bottom: -10),
            BoxCorners(left: 100, top: 100, right: 200, bottom: 200),
            BoxCorners(left: 5, top: 5, right: 5, bottom: 5),
        ]
        #expect(BoxDrawing.drawn(boxes, on: gray).shape == gray.shape)
        #expect(BoxDrawing.drawn([], on: gray).scalars(UInt8.self) == gray.scalars(UInt8.self))
    }

    @Test("what training looks at keeps every box whole, and picture and boxes move together")
    func views() throws {
        var values = [UInt8](repeating: 0, count: 30 * 40 * 3)
        for y in 10..<20 { for x in 12..<22 { values[(y * 40 + x) * 3] = 255 } }
        let picture = Tensor(values, shape: [30, 40, 3])
        let box = BoxCorners(left: 12, top: 10, right: 22, bottom: 20)
        let target = DetectionTarget(
            items: [.init(box: box, area: 100, spans: [0..<4])], caption: "left", size: ImageSize(height: 30, width: 40)
        )
        let view = GroundingView(cropScale: 0.3...1, mirrors: true)
        var crops: Set<ImageCrop> = []
        for index in 0..<50 {
            let choice = view.choice(for: target, key: RandomKey(seed: 1).derived("part", index))
            crops.insert(choice.crop)
            let (part, seen) = (GroundingView.part(of: picture, choice), GroundingView.part(of: target, choice))
            #expect(part.shape == [choice.crop.height, choice.crop.width, 3])
            let item = try #require(seen.items.first)
            #expect((item.box.right - item.box.left, item.box.bottom - item.box.top) == (10, 10))
            #expect(seen.caption == (choice.isMirrored ? "right" : "left"))
            let (left, top) = (Int(item.box.left), Int(item.box.top))
            #expect(colour(part, top, left) == [255, 0, 0] && colour(part, top + 9, left + 9) == [255, 0, 0])
            if left > 0 { #expect(colour(part, top, left - 1) == [0, 0, 0]) }
        }
        #expect(crops.count > 20)
        let whole = GroundingView().choice(for: target, key: RandomKey(seed: 1))
        #expect(whole == .init(crop: ImageCrop(top: 0, left: 0, height: 30, width: 40), isMirrored: false))
    }
}
