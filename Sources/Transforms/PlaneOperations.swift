import Foundation
import Tensors

/// Changes of the levels and places of planes of numbers with torchvision's values; what ``RandAugment3D`` and
/// ``ColorJitter`` choose from for pictures with depth.
///
/// Colours are the first three planes and lie in 0...1; further planes change places with them but keep their values.
struct PlaneOperations {
    let planes: Int
    let height: Int
    let width: Int
    private(set) var values: [Float]

    /// - Parameter image: `[3 or more, height, width]`, `float32`.
    init(_ image: Tensor) {
        (planes, height, width) = (image.shape[0], image.shape[1], image.shape[2])
        values = image.scalars(Float.self)
    }

    /// The planes, `[planes, height, width]`.
    var tensor: Tensor { Tensor(values, shape: [planes, height, width]) }

    private var area: Int { height * width }

    // MARK: - Places

    /// All planes with their places changed, from the nearest four values; what comes from outside is 0.
    mutating func warp(_ map: AffineMap) {
        var result = [Float](repeating: 0, count: values.count)
        for y in 0..<height {
            for x in 0..<width {
                let (centerX, centerY) = (Double(x) + 0.5, Double(y) + 0.5)
                let fromX = map.a * centerX + map.b * centerY + map.c - 0.5
                let fromY = map.d * centerX + map.e * centerY + map.f - 0.5
                guard fromX > -1, fromX < Double(width), fromY > -1, fromY < Double(height) else { continue }
                let (left, top) = (fromX.rounded(.down), fromY.rounded(.down))
                let (right, bottom) = (Float(fromX - left), Float(fromY - top))
                let corners = [
                    (Int(left), Int(top), (1 - right) * (1 - bottom)), (Int(left) + 1, Int(top), right * (1 - bottom)),
                    (Int(left), Int(top) + 1, (1 - right) * bottom), (Int(left) + 1, Int(top) + 1, right * bottom),
                ]
                for (column, row, share) in corners where column >= 0 && column < width && row >= 0 && row < height {
                    for plane in 0..<planes {
                        result[plane * area + y * width + x] += share * values[plane * area + row * width + column]
                    }
                }
            }
        }
        values = result
    }

    // MARK: - Colours

    /// Every colour between `other` (0) and itself (1), and beyond, cut off to 0...1.
    private mutating func blend(_ factor: Double, with other: (_ place: Int, _ plane: Int) -> Float) {
        let (own, rest) = (Float(factor), Float(1 - factor))
        var result = values
        for plane in 0..<3 {
            for place in 0..<area {
                let mixed = own * values[plane * area + place] + rest * other(place, plane)
                result[plane * area + place] = max(0, min(1, mixed))
            }
        }
        values = result
    }

    private func gray() -> [Float] {
        (0..<area).map { 0.2989 * values[$0] + 0.587 * values[area + $0] + 0.114 * values[2 * area + $0] }
    }

    /// 0 is black, 1 the picture.
    mutating func brightness(_ factor: Double) { blend(factor) { _, _ in 0 } }

    /// 0 is gray, 1 the picture.
    mutating func color(_ factor: Double) {
        let gray = gray()
        blend(factor) { place, _ in gray[place] }
    }

    /// 0 is one gray, 1 the picture.
    mutating func contrast(_ factor: Double) {
        let mean = Float(gray().reduce(0) { $0 + Double($1) } / Double(area))
        blend(factor) { _, _ in mean }
    }

    /// 0 is softened, 1 the picture; the border stays.
    mutating func sharpness(_ factor: Double) {
        guard height > 2, width > 2 else { return }
        let (values, area, width, height) = (values, area, width, height)
        blend(factor) { place, plane in
            let (row, column) = (place / width, place % width)
            let own = plane * area + place
            guard row > 0, row < height - 1, column > 0, column < width - 1 else { return values[own] }
            var sum = 4 * values[own]
            for line in -1...1 { for step in -1...1 { sum += values[own + line * width + step] } }
            return sum / 13
        }
    }

    /// Each colour stretched to 0...1.
    mutating func autoContrast() {
        for plane in 0..<3 {
            let own = values[plane * area..<(plane + 1) * area]
            let (low, high) = (own.min() ?? 0, own.max() ?? 1)
            let scale = 1 / (high - low)
            guard scale.isFinite else { continue }
            for place in own.indices { values[place] = max(0, min(1, (values[place] - low) * scale)) }
        }
    }

    /// What an operation on levels of 8 bits makes of the colours; numbers fall to the level below.
    mutating func levels(_ operation: (PictureOperations) -> Tensor) {
        let scale: Float = 255.9999
        var pixels = [UInt8](repeating: 0, count: 3 * area)
        for plane in 0..<3 {
            for place in 0..<area {
                pixels[3 * place + plane] = UInt8(max(0, min(255, values[plane * area + place] * scale)))
            }
        }
        let changed = operation(PictureOperations(image: Tensor(pixels, shape: [height, width, 3]))).scalars(UInt8.self)
        for plane in 0..<3 {
            for place in 0..<area { values[plane * area + place] = Float(changed[3 * place + plane]) / scale }
        }
    }

    /// Hues turned by a share of the circle, from -0.5 to 0.5.
    mutating func hue(_ share: Double) {
        for place in 0..<area {
            let (r, g, b) = (values[place], values[area + place], values[2 * area + place])
            let (high, low) = (max(r, g, b), min(r, g, b))
            let range = high - low
            let saturation = high == low ? 0 : range / high
            let divisor = high == low ? 1 : range
            let (red, green, blue) = ((high - r) / divisor, (high - g) / divisor, (high - b) / divisor)
            let sector = high == r ? blue - green : high == g ? 2 + red - blue : 4 + green - red
            let turned = fmod(sector / 6 + 1, 1) + Float(share)
            let position = (turned - turned.rounded(.down)) * 6
            let whole = position.rounded(.down)
            let rest = position - whole
            func level(_ share: Float) -> Float { max(0, min(1, high * (1 - share))) }
            let (p, q, t) = (level(saturation), level(saturation * rest), level(saturation * (1 - rest)))
            let color: (Float, Float, Float) =
                switch Int(whole) % 6 {
                case 0: (high, t, p)
                case 1: (q, high, p)
                case 2: (p, high, t)
                case 3: (p, q, high)
                case 4: (t, p, high)
                default: (high, p, q)
                }
            (values[place], values[area + place], values[2 * area + place]) = color
        }
    }
}
