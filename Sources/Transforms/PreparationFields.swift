import Checkpoints
import JSON
import Media

extension JSONFields {
    /// `resize` (a side, or height and width) with `longest`.
    func resizeTarget() throws -> ResizeTarget {
        let longest = has("longest") ? try integer("longest", in: 1...longestSide) : nil
        if let size = try size("resize") {
            guard longest == nil else { throw mismatch("longest", mustBe: "absent where \"resize\" is two numbers") }
            return .exactly(size)
        }
        return .shorterSide(try integer("resize", in: 1...longestSide), longest: longest)
    }

    /// `crop`: a side, or height and width; `nil` when missing.
    func crop() throws -> ImageSize? {
        guard has("crop") else { return nil }
        if let size = try size("crop") { return size }
        return ImageSize(try integer("crop", in: 1...longestSide))
    }

    /// Two numbers, height and width; `nil` where there is one number or nothing.
    private func size(_ key: String) throws -> ImageSize? {
        guard has(key), object[key]?.arrayValue != nil else { return nil }
        let sides = try integers(key)
        guard sides.count == 2, sides.allSatisfy({ (1...longestSide).contains($0) }) else {
            throw mismatch(key, mustBe: "a side or [height, width], each from 1 to \(longestSide)")
        }
        return ImageSize(height: sides[0], width: sides[1])
    }

    func resampling(default fallback: Resampling) throws -> Resampling {
        let names = Resampling.allCases.map(\.rawValue)
        return Resampling(rawValue: try string("interpolation", oneOf: names, default: fallback.rawValue)) ?? fallback
    }

    /// `mean` and `std`, as many numbers as there are channels.
    func scaling(channels: Int, default fallback: PixelScaling) throws -> PixelScaling {
        let mean = try optionalDoubles("mean") ?? fallback.mean
        let deviation = try optionalDoubles("std") ?? fallback.deviation
        for (key, values) in [("mean", mean), ("std", deviation)] where values.count != channels {
            throw mismatch(key, mustBe: "\(channels) numbers")
        }
        guard let scaling = try? PixelScaling(mean: mean, deviation: deviation) else {
            throw mismatch("std", mustBe: "\(channels) numbers other than 0")
        }
        return scaling
    }
}

extension ResizeTarget {
    /// The members that ``JSONFields/resizeTarget()`` reads.
    var members: [(String, JSONValue)] {
        switch self {
        case .exactly(let size): return [("resize", [.integer(size.height), .integer(size.width)])]
        case .shorterSide(let side, let longest):
            return [("resize", .integer(side))] + (longest.map { [("longest", .integer($0))] } ?? [])
        }
    }
}

extension Optional<ImageSize> {
    var members: [(String, JSONValue)] {
        guard let size = self else { return [] }
        return [
            ("crop", size.height == size.width ? .integer(size.height) : [.integer(size.height), .integer(size.width)])
        ]
    }
}

extension PixelScaling {
    var members: [(String, JSONValue)] {
        [("mean", .array(mean.map { .number($0) })), ("std", .array(deviation.map { .number($0) }))]
    }
}
