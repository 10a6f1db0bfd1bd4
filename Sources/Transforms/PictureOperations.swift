import Foundation
import Tensors

/// Changes of a picture's levels and places with Pillow's pixels; what ``RandAugment`` and ``ColorJitter`` choose from.
///
/// Each takes and gives `uint8` of shape `[height, width, 3]`.
struct PictureOperations {
    let image: Tensor

    private var height: Int { image.shape[0] }
    private var width: Int { image.shape[1] }

    /// Every level of colour `c` replaced by `table(c)[level]`.
    private func mapped(_ tables: [[UInt8]]) -> Tensor {
        var values = image.scalars(UInt8.self)
        for index in values.indices { values[index] = tables[index % 3][Int(values[index])] }
        return Tensor(values, shape: image.shape)
    }

    private func mapped(_ level: (Int) -> Int) -> Tensor {
        let table = (0...255).map { UInt8(max(0, min(255, level($0)))) }
        return mapped([table, table, table])
    }

    /// The picture between `other` (0) and itself (1), and beyond.
    private func blended(with other: [UInt8], _ factor: Double) -> Tensor {
        let factor = Float(factor)
        if factor == 1 { return image }
        if factor == 0 { return Tensor(other, shape: image.shape) }
        var values = image.scalars(UInt8.self)
        for index in values.indices {
            let from = Float(other[index])
            let mixed = from + factor * (Float(values[index]) - from)
            values[index] = mixed <= 0 ? 0 : mixed >= 255 ? 255 : UInt8(mixed)
        }
        return Tensor(values, shape: image.shape)
    }

    /// Luma of every pixel, `height * width` levels (ITU-R 601, 16 fractional bits).
    func luma() -> [UInt8] {
        let values = image.scalars(UInt8.self)
        return (0..<height * width).map { place in
            let (r, g, b) = (Int(values[3 * place]), Int(values[3 * place + 1]), Int(values[3 * place + 2]))
            return UInt8((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16)
        }
    }

    /// 0 is black, 1 the picture.
    func brightness(_ factor: Double) -> Tensor {
        blended(with: Array(repeating: 0, count: image.count), factor)
    }

    /// 0 is gray, 1 the picture.
    func color(_ factor: Double) -> Tensor { blended(with: luma().flatMap { [$0, $0, $0] }, factor) }

    /// 0 is one gray, 1 the picture.
    func contrast(_ factor: Double) -> Tensor {
        let gray = luma()
        let mean = Double(gray.reduce(0) { $0 + Int($1) }) / Double(gray.count)
        return blended(with: Array(repeating: UInt8(mean + 0.5), count: image.count), factor)
    }

    /// 0 is softened, 1 the picture.
    func sharpness(_ factor: Double) -> Tensor { blended(with: smoothed(), factor) }

    /// The mean of nine pixels, the middle one five times; the border stays.
    private func smoothed() -> [UInt8] {
        let values = image.scalars(UInt8.self)
        var result = values
        let (side, middle) = (Float(1) / 13, Float(5) / 13)
        let row = width * 3
        for y in 0..<max(0, height - 2) {
            for index in (y + 1) * row + 3..<max((y + 1) * row + 3, (y + 2) * row - 3) {
                func line(_ at: Int, _ center: Float) -> Float {
                    Float(values[at - 3]) * side + Float(values[at]) * center + Float(values[at + 3]) * side
                }
                let sum = 0.5 + line(index + row, side) + line(index, middle) + line(index - row, side)
                result[index] = sum <= 0 ? 0 : sum >= 255 ? 255 : UInt8(sum)
            }
        }
        return result
    }

    /// Only the upper bits of each level stay.
    func posterize(bits: Int) -> Tensor { mapped { $0 & ~((1 << (8 - bits)) - 1) } }

    /// Levels from the threshold on are turned round.
    func solarize(threshold: Double) -> Tensor { mapped { Double($0) < threshold ? $0 : 255 - $0 } }

    /// Levels of each colour stretched to 0...255.
    func autoContrast() -> Tensor {
        mapped(
            histograms().map { counts in
                guard let low = counts.firstIndex(where: { $0 > 0 }), let high = counts.lastIndex(where: { $0 > 0 }),
                    high > low
                else { return (0...255).map { UInt8($0) } }
                let scale = 255 / Double(high - low)
                let offset = -Double(low) * scale
                return (0...255).map { UInt8(max(0, min(255, Int(Double($0) * scale + offset)))) }
            })
    }

    /// Levels of each colour spread so that all are about equally frequent.
    func equalize() -> Tensor {
        mapped(
            histograms().map { counts in
                let step = (counts.reduce(0, +) - (counts.last { $0 > 0 } ?? 0)) / 255
                guard counts.filter({ $0 > 0 }).count > 1, step > 0 else { return (0...255).map { UInt8($0) } }
                var sum = step / 2
                return counts.map { count in
                    defer { sum += count }
                    return UInt8(min(255, sum / step))
                }
            })
    }

    private func histograms() -> [[Int]] {
        var counts = Array(repeating: [Int](repeating: 0, count: 256), count: 3)
        for (index, level) in image.scalars(UInt8.self).enumerated() { counts[index % 3][Int(level)] += 1 }
        return counts
    }

    /// Hues turned by a share of the circle, from -0.5 to 0.5.
    func hue(_ share: Double) -> Tensor {
        // Torchvision adds the share in 8 bits, cut off towards 0 and wrapped.
        let shift = UInt8(truncatingIfNeeded: Int(share * 255))
        var values = image.scalars(UInt8.self)
        for place in 0..<height * width {
            let pixel = (values[3 * place], values[3 * place + 1], values[3 * place + 2])
            let (h, s, v) = Self.hueSaturationValue(pixel)
            (values[3 * place], values[3 * place + 1], values[3 * place + 2]) = Self.colours(h &+ shift, s, v)
        }
        return Tensor(values, shape: image.shape)
    }

    private static func hueSaturationValue(_ pixel: (UInt8, UInt8, UInt8)) -> (UInt8, UInt8, UInt8) {
        let (r, g, b) = (Float(pixel.0), Float(pixel.1), Float(pixel.2))
        let (high, low) = (max(r, g, b), min(r, g, b))
        guard high > low else { return (0, 0, UInt8(high)) }
        let range = high - low
        let (red, green, blue) = ((high - r) / range, (high - g) / range, (high - b) / range)
        let sector: Float =
            r == high
            ? blue - green
            : g == high ? Float(2.0 + Double(red) - Double(blue)) : Float(4.0 + Double(green) - Double(red))
        let hue = Float(fmod(Double(sector) / 6 + 1, 1))
        return (UInt8(Double(hue) * 255), UInt8(Double(range / high) * 255), UInt8(high))
    }

    private static func colours(_ h: UInt8, _ s: UInt8, _ v: UInt8) -> (UInt8, UInt8, UInt8) {
        if s == 0 { return (v, v, v) }
        let position = Double(Float(h)) * 6 / 255
        let sector = floor(position)
        let rest = Double(Float(position - Double(Float(sector))))
        let saturation = Double(Float(Double(Float(s)) / 255))
        func level(_ share: Double) -> UInt8 { UInt8(max(0, min(255, (Double(v) * (1 - share)).rounded()))) }
        let (p, q, t) = (level(saturation), level(saturation * rest), level(saturation * (1 - rest)))
        switch Int(sector) % 6 {
        case 0: return (v, t, p)
        case 1: return (q, v, p)
        case 2: return (p, v, t)
        case 3: return (p, q, v)
        case 4: return (t, p, v)
        default: return (v, p, q)
        }
    }
}
