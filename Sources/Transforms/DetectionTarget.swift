import Foundation
import Media
import Tensors

/// A box in a picture by its corners, in pixels, as it is moved and drawn.
public typealias BoxCorners = PictureBox<Float>

/// What is to be found in a picture: boxes, and which words of the caption speak of each.
public struct DetectionTarget: Sendable {
    /// One thing to be found.
    public struct Item: Sendable, Hashable {
        /// Where it is.
        public var box: BoxCorners
        /// Its class; MDETR's data have 1 everywhere.
        public var label: Int
        /// How many pixels it covers.
        public var area: Float
        /// Which characters of the caption (Unicode scalars) speak of it.
        public var spans: [Range<Int>]

        /// A thing.
        public init(box: BoxCorners, label: Int = 1, area: Float, spans: [Range<Int>] = []) {
            self.box = box
            self.label = label
            self.area = area
            self.spans = spans
        }
    }

    /// What is to be found.
    public var items: [Item]
    /// What is said of the picture.
    public var caption: String
    /// The picture's size now.
    public var size: ImageSize
    /// The size of the file's picture.
    public let originalSize: ImageSize

    /// Keeps boxes inside the picture and drops those of which nothing is left.
    public init(items: [Item], caption: String, size: ImageSize) {
        let (width, height) = (Float(size.width), Float(size.height))
        self.items = items.compactMap { item in
            var item = item
            item.box = BoxCorners(
                left: min(max(item.box.left, 0), width), top: min(max(item.box.top, 0), height),
                right: min(max(item.box.right, 0), width), bottom: min(max(item.box.bottom, 0), height))
            return item.box.isEmpty ? nil : item
        }
        self.caption = caption
        self.size = size
        originalSize = size
    }

    /// The boxes as `[boxes, 4]`, `float32`: centre, width and height in shares of the picture.
    public var boxes: Tensor {
        let (width, height) = (Float(size.width), Float(size.height))
        let numbers = items.flatMap { item -> [Float] in
            let box = item.box
            return [
                (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height,
                (box.right - box.left) / width, (box.bottom - box.top) / height,
            ]
        }
        return Tensor(numbers, shape: [items.count, 4])
    }
}

extension DetectionTarget {
    /// What is to be found in a part of the picture; boxes are cut at its edges, and those outside are dropped.
    func cropped(_ crop: ImageCrop) -> DetectionTarget {
        var result = self
        result.size = crop.size
        let (x, y) = (Float(crop.left), Float(crop.top))
        let (width, height) = (Float(crop.width), Float(crop.height))
        result.items = items.compactMap { item in
            var item = item
            item.box = BoxCorners(
                left: max(0, min(item.box.left - x, width)), top: max(0, min(item.box.top - y, height)),
                right: max(0, min(item.box.right - x, width)), bottom: max(0, min(item.box.bottom - y, height)))
            item.area = (item.box.right - item.box.left) * (item.box.bottom - item.box.top)
            return item.box.isEmpty ? nil : item
        }
        return result
    }

    /// The same things in the picture at another size.
    public func resized(_ size: ImageSize) -> DetectionTarget {
        var result = self
        let x = Double(size.width) / Double(self.size.width)
        let y = Double(size.height) / Double(self.size.height)
        for index in items.indices {
            let box = items[index].box
            result.items[index].box = BoxCorners(
                left: box.left * Float(x), top: box.top * Float(y), right: box.right * Float(x),
                bottom: box.bottom * Float(y))
            result.items[index].area *= Float(x * y)
        }
        result.size = size
        return result
    }

    /// The same things with left and right exchanged, in the picture and in the caption.
    ///
    /// Only whole words count, and the characters that speak of a thing move with the caption.
    func mirrored() -> DetectionTarget {
        var result = self
        let width = Float(size.width)
        for index in items.indices {
            let box = items[index].box
            result.items[index].box = BoxCorners(
                left: width - box.right, top: box.top, right: width - box.left, bottom: box.bottom)
        }
        let (caption, moved) = Self.exchangingSides(Array(caption.unicodeScalars))
        result.caption = caption
        for index in items.indices {
            result.items[index].spans = items[index].spans.map { span in
                let last = moved.count - 1
                return moved[min(max(0, span.lowerBound), last)]..<moved[min(max(0, span.upperBound), last)]
            }
        }
        return result
    }

    /// The caption with "left" and "right" exchanged, and where each of its scalars (and its end) begins then.
    private static func exchangingSides(_ scalars: [Unicode.Scalar]) -> (caption: String, moved: [Int]) {
        let sides = [("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")]
        let words = (sides + sides.map { ($1, $0) }).map { (Array($0.unicodeScalars), $1) }
        func isLetter(_ index: Int) -> Bool {
            scalars.indices.contains(index) && scalars[index].properties.isAlphabetic
        }
        var caption = String.UnicodeScalarView()
        var moved: [Int] = []
        var index = 0
        while index < scalars.count {
            let found = words.first { word, _ in
                scalars[index...].starts(with: word) && !isLetter(index - 1) && !isLetter(index + word.count)
            }
            if let (word, other) = found {
                let start = caption.count
                // A span that ends inside of the word ends inside of the other word.
                moved += (0..<word.count).map { start + min($0, other.unicodeScalars.count) }
                caption.append(contentsOf: other.unicodeScalars)
                index += word.count
            } else {
                moved.append(caption.count)
                caption.append(scalars[index])
                index += 1
            }
        }
        return (String(caption), moved + [caption.count])
    }
}
