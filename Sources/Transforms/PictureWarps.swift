import Foundation
import Media
import Tensors

/// A straight-lined change of places: where in the source each pixel of the result comes from.
struct AffineMap {
    // Source x is `a x + b y + c`, source y is `d x + e y + f`, both from pixel centres.
    var a: Double
    var b: Double
    var c: Double
    var d: Double
    var e: Double
    var f: Double

    /// Moves rows sideways, the more the lower they are.
    static func shearX(_ amount: Double) -> AffineMap {
        AffineMap((1, tan(radians(degrees(atan(amount)))), 0), (0, 1, 0))
    }

    /// Moves columns up or down, the more the further right they are.
    static func shearY(_ amount: Double) -> AffineMap {
        AffineMap((1, 0, 0), (tan(radians(degrees(atan(amount)))), 1, 0))
    }

    static func translation(x: Double, y: Double) -> AffineMap { AffineMap((1, 0, -x), (0, 1, -y)) }

    /// Turns about the middle, in degrees, counter-clockwise.
    static func rotation(_ angle: Double, _ size: ImageSize) -> AffineMap {
        var turn = angle.truncatingRemainder(dividingBy: 360)
        if turn < 0 { turn += 360 }
        let (cosine, sine) = (cos(-radians(turn)), sin(-radians(turn)))
        let (x, y) = (Double(size.width) / 2, Double(size.height) / 2)
        return AffineMap(
            (cosine, sine, cosine * -x + sine * -y + x), (-sine, cosine, -sine * -x + cosine * -y + y))
    }

    init(_ x: (Double, Double, Double), _ y: (Double, Double, Double)) {
        a = x.0
        b = x.1
        c = x.2
        d = y.0
        e = y.1
        f = y.2
    }

    private static func radians(_ degrees: Double) -> Double { degrees * .pi / 180 }
    private static func degrees(_ radians: Double) -> Double { radians * 180 / .pi }
}

extension PictureOperations {
    /// The picture with its places changed; what comes from outside is black. Pillow's pixels.
    ///
    /// - Parameter method: `.nearest` or `.bicubic` (a = -1, not widened, cut off to whole levels).
    func warped(_ map: AffineMap, _ method: Resampling) -> Tensor {
        let (height, width) = (image.shape[0], image.shape[1])
        let values = image.scalars(UInt8.self)
        var result = [UInt8](repeating: 0, count: values.count)
        if method == .nearest {
            // In 16 fractional bits, added up along rows, as Pillow does; whole steps are exact either way.
            func fixed(_ value: Double) -> Int { Int((value * 65536 + 0.5).rounded(.down)) }
            var rowStart = (fixed(map.c + map.a / 2 + map.b / 2), fixed(map.f + map.d / 2 + map.e / 2))
            for y in 0..<height {
                var place = rowStart
                for x in 0..<width {
                    let (fromX, fromY) = (place.0 >> 16, place.1 >> 16)
                    if fromX >= 0, fromX < width, fromY >= 0, fromY < height {
                        let (from, to) = (3 * (fromY * width + fromX), 3 * (y * width + x))
                        for c in 0..<3 { result[to + c] = values[from + c] }
                    }
                    place = (place.0 + fixed(map.a), place.1 + fixed(map.d))
                }
                rowStart = (rowStart.0 + fixed(map.b), rowStart.1 + fixed(map.e))
            }
            return Tensor(result, shape: image.shape)
        }
        for y in 0..<height {
            for x in 0..<width {
                let (centerX, centerY) = (Double(x) + 0.5, Double(y) + 0.5)
                let fromX = map.a * centerX + map.b * centerY + map.c
                let fromY = map.d * centerX + map.e * centerY + map.f
                guard fromX >= 0, fromX < Double(width), fromY >= 0, fromY < Double(height) else { continue }
                let (cornerX, cornerY) = ((fromX - 0.5).rounded(.down), (fromY - 0.5).rounded(.down))
                let (restX, restY) = (fromX - 0.5 - cornerX, fromY - 0.5 - cornerY)
                let columns = (-1...2).map { 3 * max(0, min(width - 1, Int(cornerX) + $0)) }
                for c in 0..<3 {
                    // A line beyond the edge is the line before it.
                    var lines: [Double] = []
                    for offset in -1...2 {
                        let row = Int(cornerY) + offset
                        if offset > -1, row < 0 || row >= height {
                            lines.append(lines[lines.count - 1])
                            continue
                        }
                        let start = max(0, min(height - 1, row)) * width * 3 + c
                        lines.append(
                            Self.cubic(columns.map { Double(values[start + $0]) }, restX))
                    }
                    let sum = Self.cubic(lines, restY)
                    result[3 * (y * width + x) + c] = sum <= 0 ? 0 : sum >= 255 ? 255 : UInt8(sum)
                }
            }
        }
        return Tensor(result, shape: image.shape)
    }

    private static func cubic(_ v: [Double], _ d: Double) -> Double {
        let p2 = -v[0] + v[2]
        let p3 = 2 * (v[0] - v[1]) + v[2] - v[3]
        let p4 = -v[0] + v[1] - v[2] + v[3]
        return v[1] + d * (p2 + d * (p3 + d * p4))
    }
}
