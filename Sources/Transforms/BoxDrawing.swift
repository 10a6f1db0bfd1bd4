import Tensors

/// Draws numbered boxes onto a picture.
public enum BoxDrawing {
    /// Colours that are told apart on most pictures, red, green and blue of 0...255, used in turn.
    static let colours: [[UInt8]] = [
        [230, 25, 75], [60, 180, 75], [0, 130, 200], [255, 225, 25], [245, 130, 48], [145, 30, 180], [70, 240, 240],
        [240, 50, 230],
    ]

    /// The digits as rows of three dots, the left one the highest bit.
    private static let digits: [[UInt8]] = [
        [7, 5, 5, 5, 7], [2, 6, 2, 2, 7], [7, 1, 7, 4, 7], [7, 1, 7, 1, 7], [5, 5, 7, 1, 1], [7, 4, 7, 1, 7],
        [7, 4, 7, 5, 7], [7, 1, 1, 2, 2], [7, 5, 7, 5, 7], [7, 5, 7, 1, 7],
    ]

    /// A picture with boxes, each with its number (from 1) at its upper left corner.
    ///
    /// - Parameters:
    ///   - boxes: in pixels of the picture.
    ///   - picture: `[height, width, 3]`, `uint8`.
    /// - Returns: the same shape.
    public static func drawn(_ boxes: [BoxCorners], on picture: Tensor) -> Tensor {
        let (height, width) = (picture.shape[0], picture.shape[1])
        var pixels = picture.scalars(UInt8.self)
        func fill(_ rows: Range<Int>, _ columns: Range<Int>, _ colour: [UInt8]) {
            for y in rows.clamped(to: 0..<height) {
                for x in columns.clamped(to: 0..<width) {
                    for channel in 0..<3 { pixels[(y * width + x) * 3 + channel] = colour[channel] }
                }
            }
        }
        // Lines that can be seen on large pictures, and do not cover small ones.
        let line = max(1, min(height, width) / 160)
        for (number, box) in boxes.enumerated() {
            let colour = colours[number % colours.count]
            let (left, top) = (Int(box.left), Int(box.top))
            let (right, bottom) = (max(Int(box.right), left + 1), max(Int(box.bottom), top + 1))
            fill(top..<top + line, left..<right, colour)
            fill(bottom - line..<bottom, left..<right, colour)
            fill(top..<bottom, left..<left + line, colour)
            fill(top..<bottom, right - line..<right, colour)
            let label = String(number + 1).compactMap(\.wholeNumberValue)
            let dot = line + (line > 1 ? 1 : 0)
            // Inside the picture, whatever the box.
            let (x, y) = (max(0, min(left, width - 1)), max(0, min(top, height - 1)))
            fill(y..<y + 7 * dot, x..<x + (4 * label.count + 1) * dot, colour)
            let ink: [UInt8] = colour.reduce(0) { $0 + Int($1) } > 400 ? [0, 0, 0] : [255, 255, 255]
            for (place, digit) in label.enumerated() {
                for (row, bits) in digits[digit].enumerated() {
                    for column in 0..<3 where bits & (4 >> UInt8(column)) != 0 {
                        let (dx, dy) = (x + (4 * place + 1 + column) * dot, y + (row + 1) * dot)
                        fill(dy..<dy + dot, dx..<dx + dot, ink)
                    }
                }
            }
        }
        return Tensor(pixels, shape: picture.shape)
    }
}
