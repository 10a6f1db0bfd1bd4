import Foundation

/// A damaged copy of a file: one to four bits flipped, bytes or numbers replaced, parts cut off, taken out, doubled, put
/// elsewhere or taken from another file.
public func damaged(
    _ bytes: [UInt8], splicing other: [UInt8] = [], using generator: inout SeededGenerator
) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<generator.int(1..<5) where !bytes.isEmpty {
        let place = generator.int(0..<bytes.count)
        let length = min(generator.int(1..<65), bytes.count - place)
        switch generator.int(0..<9) {
        case 0, 1: bytes[place] ^= 1 << UInt8(generator.int(0..<8))
        case 2: bytes[place] = UInt8(generator.int(0..<256))
        case 3:
            // A length or an offset that no file has, in either order of bytes.
            let numbers: [UInt64] = [0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 1 << 62, .max, UInt64(bytes.count)]
            var number = numbers[generator.int(0..<numbers.count)]
            if generator.int(0..<2) == 0 { number = number.byteSwapped }
            let width = [2, 4, 8][generator.int(0..<3)]
            for index in 0..<min(width, bytes.count - place) {
                bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index))
            }
        case 4: bytes.removeLast(bytes.count - place)
        case 5: bytes.removeSubrange(place..<place + length)
        case 6: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: place)
        case 7: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: generator.int(0..<bytes.count))
        default:
            let from = other.isEmpty ? bytes : other
            let start = generator.int(0..<from.count)
            bytes.replaceSubrange(place..<place + length, with: from[start..<min(start + length, from.count)])
        }
    }
    return bytes
}

/// What some work took.
public struct Cost {
    /// Processor seconds of this thread: the speed of the machine matters, what else it does not.
    public var seconds: Double
    /// By how many bytes the most memory that the process ever held has grown.
    public var bytes: Int
}

/// Does some work and says what it took.
public func cost(of body: () throws -> Void) rethrows -> Cost {
    let before = (processorSeconds(), peakBytes())
    try body()
    return Cost(seconds: processorSeconds() - before.0, bytes: peakBytes() - before.1)
}

private func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

private func peakBytes() -> Int {
    var usage = rusage()
    #if canImport(Darwin)
        getrusage(RUSAGE_SELF, &usage)
        return Int(usage.ru_maxrss)
    #else
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Int(usage.ru_maxrss) * 1024
    #endif
}
