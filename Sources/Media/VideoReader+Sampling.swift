import Foundation
import Tensors

/// What happens when a clip has fewer frames than were asked for.
public enum ShortClipPolicy: String, Sendable, CaseIterable, Codable {
    /// The last frame stands in for the missing ones.
    case repeatLast
    /// An error names the file, what was asked for and what there is.
    case fail
    /// Fewer frames come back.
    case shorten
}

extension VideoReader {
    /// Every frame of the file.
    ///
    /// - Throws: ``MediaError`` with code `.tooLarge` when the frames take more than ``Options/maximumClipBytes``,
    ///   `.damaged` when the reader is strict.
    public func readAll() throws -> Clip { try read(fromFrame: 0, stride: 1, frameCount: nil) }

    /// Frames by index: `fromFrame`, `fromFrame + stride`, and so on.
    ///
    /// - Parameters:
    ///   - fromFrame: the first frame's index, from 0.
    ///   - stride: the distance between frames, from 1.
    ///   - frameCount: how many frames; all that there are when `nil`.
    ///   - shortClip: what happens when the file ends first.
    /// - Returns: the frames with their own times.
    /// - Throws: ``MediaError``: `.invalidArgument`, `.tooShort`, `.tooLarge`, `.damaged`.
    public func read(
        fromFrame: Int, stride: Int = 1, frameCount: Int? = nil, shortClip: ShortClipPolicy = .repeatLast
    ) throws -> Clip {
        guard fromFrame >= 0, stride >= 1, frameCount.map({ $0 >= 1 }) ?? true else {
            throw MediaError(
                .invalidArgument,
                "Frames are read from 0 on, by strides and counts from 1 on; asked for were frame \(fromFrame), stride "
                    + "\(stride), count \(frameCount ?? 0).")
        }
        try checkBytes(frameCount: frameCount ?? 1)
        if report.decodedFrames > 0 { try rewind() }
        let expected = frameCount ?? info.frameCount.map { max(1, ($0 - fromFrame + stride - 1) / stride) } ?? 16
        let buffer = PixelBuffer(frameBytes: frameBytes, capacity: min(expected, options.maximumClipBytes / frameBytes))
        var times: [Double] = []
        var index = 0
        while frameCount.map({ times.count < $0 }) ?? true, let time = try advance() {
            defer { index += 1 }
            guard index >= fromFrame, (index - fromFrame) % stride == 0 else { continue }
            try checkBytes(frameCount: times.count + 1)
            try convert(to: buffer.appendFrame())
            times.append(time)
        }
        if times.isEmpty {
            throw MediaError(
                .tooShort, "\(source.name) has \(index) frames; there is no frame \(fromFrame) (counted from 0).")
        }
        try fill(buffer, &times, to: frameCount, step: nominalStep * Double(stride), shortClip)
        let rate = times.count < 2 || info.isStill ? info.frameRate / Double(stride) : measuredRate(times)
        return try finishedClip(buffer, times, frameRate: info.isStill ? 1 : rate)
    }

    /// The frames shown at evenly spaced times: at each time, the last frame that appeared before or at it.
    ///
    /// - Parameters:
    ///   - startSeconds: the first time, from 0, counted from the first frame.
    ///   - frameRate: times per second; the file's own frames, one by one, when `nil`.
    ///   - frameCount: how many frames; all up to the end when `nil`.
    ///   - shortClip: what happens at times after the last frame has ended; the last one taken is what repeats.
    /// - Returns: the frames with the times that were asked for.
    /// - Throws: ``MediaError``: `.invalidArgument`, `.tooShort`, `.tooLarge`, `.damaged`.
    public func read(
        startSeconds: Double, frameRate: Double? = nil, frameCount: Int? = nil,
        shortClip: ShortClipPolicy = .repeatLast
    ) throws -> Clip {
        guard startSeconds.isFinite, startSeconds >= 0, frameCount.map({ $0 >= 1 }) ?? true,
            frameRate.map({ $0.isFinite && $0 > 0 && $0 <= 10000 }) ?? true
        else {
            throw MediaError(
                .invalidArgument,
                "A start of \(startSeconds) s with \(frameCount ?? 1) frames at \(frameRate ?? 1) per second is not "
                    + "possible: the start must be 0 or more, the count at least 1, the rate above 0 and at most 10000."
            )
        }
        try checkBytes(frameCount: frameCount ?? 1)
        try approach(startSeconds)
        let buffer = PixelBuffer(
            frameBytes: frameBytes, capacity: min(frameCount ?? 16, options.maximumClipBytes / frameBytes))
        let tolerance = timeTolerance
        var times: [Double] = []
        // The frame that is on screen; its pixels are made only when a wanted time falls on it.
        var shown: (time: Double, duration: Double)?
        func wanted(_ index: Int) -> Double { startSeconds + Double(index) / (frameRate ?? 1) }
        func isFull() -> Bool { frameCount.map { times.count >= $0 } ?? false }
        func emit(_ time: Double) throws {
            try checkBytes(frameCount: times.count + 1)
            try copyHeld(to: buffer.appendFrame())
            times.append(time)
        }
        while !isFull(), let time = try advance() {
            if shown != nil, frameRate != nil {
                // Everything due before this frame appears shows the one before it.
                while !isFull(), wanted(times.count) < time - tolerance { try emit(wanted(times.count)) }
            } else if let shown, time > startSeconds + tolerance {
                try emit(shown.time)
            }
            if isFull() { break }
            try hold()
            shown = (time, nominalStep)
        }
        if let shown, !isFull() {
            let end = shown.time + shown.duration
            if frameRate != nil {
                while !isFull(), wanted(times.count) < (info.isStill && times.isEmpty ? .infinity : end - tolerance) {
                    try emit(wanted(times.count))
                }
            } else if startSeconds < end || !times.isEmpty {
                try emit(shown.time)
            }
            if times.isEmpty {
                guard shortClip == .repeatLast else {
                    throw MediaError(
                        .tooShort,
                        "\(source.name) ends at \(secondsText(end)); nothing is shown at \(secondsText(startSeconds)).")
                }
                try emit(frameRate == nil ? shown.time : startSeconds)
            }
        }
        try fill(buffer, &times, to: frameCount, step: frameRate.map { 1 / $0 } ?? nominalStep, shortClip)
        return try finishedClip(
            buffer, times, frameRate: frameRate ?? (info.isStill ? 1 : measuredRate(times)))
    }

    /// How many frames ``read(startSeconds:frameRate:frameCount:shortClip:)`` gives from the first to the end, without their
    /// pixels: the file is decoded once, and nothing is kept.
    ///
    /// - Parameter frameRate: times per second, above 0 and at most 10,000.
    /// - Throws: ``MediaError``: `.invalidArgument`, `.tooShort`, `.damaged`.
    public func frameCount(atRate frameRate: Double) throws -> Int {
        guard frameRate.isFinite, frameRate > 0, frameRate <= 10000 else {
            throw MediaError(
                .invalidArgument, "Frames are counted at a rate above 0 and at most 10000, not \(frameRate).")
        }
        if report.decodedFrames > 0 { try rewind() }
        let tolerance = timeTolerance
        var (count, shown): (Int, Double?) = (0, nil)
        while let time = try advance() {
            if shown != nil {
                while Double(count) / frameRate < time - tolerance { count += 1 }
            }
            shown = time
        }
        guard let shown else { throw MediaError(.tooShort, "\(source.name) has no frames.") }
        while !info.isStill, Double(count) / frameRate < shown + nominalStep - tolerance { count += 1 }
        return max(1, count)
    }

    // MARK: - Parts

    private func checkBytes(frameCount: Int) throws {
        let (bytes, overflow) = frameBytes.multipliedReportingOverflow(by: frameCount)
        if overflow || bytes > options.maximumClipBytes {
            throw MediaError(
                .tooLarge,
                "\(frameCount) frames of \(source.name) take \(overflow ? "more" : "\(bytes)") bytes, above the limit of "
                    + "\(options.maximumClipBytes); read fewer frames, or frame by frame.")
        }
    }

    private func fill(
        _ buffer: PixelBuffer, _ times: inout [Double], to frameCount: Int?, step: Double, _ policy: ShortClipPolicy
    ) throws {
        guard let frameCount, times.count < frameCount, let last = times.last else { return }
        switch policy {
        case .shorten: return
        case .fail:
            throw MediaError(
                .tooShort, "\(source.name) has only \(times.count) of the \(frameCount) frames that were asked for.")
        case .repeatLast:
            let found = times.count
            for index in found..<frameCount {
                try buffer.repeatLast()
                times.append(last + Double(index - found + 1) * step)
            }
        }
    }

    /// The container's rate where the times agree with it, else the rate that the times have on average.
    private func measuredRate(_ times: [Double]) -> Double {
        guard let first = times.first, let last = times.last, times.count > 1, last > first else {
            return info.frameRate
        }
        let measured = Double(times.count - 1) / (last - first)
        return abs(measured - info.frameRate) <= 0.01 * info.frameRate ? info.frameRate : measured
    }

    private func finishedClip(_ buffer: PixelBuffer, _ times: [Double], frameRate: Double) throws -> Clip {
        let pixels = try buffer.tensor(shape: [times.count, info.height, info.width, 3])
        return try Clip(pixels: pixels, frameRate: frameRate, timestamps: times, report: report)
    }
}

/// Seconds with three decimals, for messages.
func secondsText(_ seconds: Double) -> String { String(format: "%.3f s", seconds) }

/// Frames of one size in one block of memory that grows.
final class PixelBuffer {
    private let frameBytes: Int
    private var capacity: Int
    private(set) var frameCount = 0
    private var memory: UnsafeMutableRawPointer?

    init(frameBytes: Int, capacity: Int) {
        self.frameBytes = frameBytes
        // A header may promise any number of frames: no more than 256 MiB are taken on its word.
        self.capacity = max(1, min(capacity, max(16, (256 << 20) / max(1, frameBytes))))
        memory = malloc(self.capacity * frameBytes)
    }

    deinit { free(memory) }

    /// The first frame's memory.
    var base: UnsafeMutableRawPointer? { memory }

    /// Room for one more frame.
    ///
    /// - Throws: ``MediaError`` with code `.tooLarge` when the machine has no memory for it.
    func appendFrame() throws -> UnsafeMutableRawPointer {
        if frameCount == capacity, let grown = realloc(memory, (capacity + max(4, capacity / 2)) * frameBytes) {
            capacity += max(4, capacity / 2)
            memory = grown
        }
        guard let memory, frameCount < capacity else {
            throw MediaError(.tooLarge, "There is no memory for \(frameCount + 1) frames of \(frameBytes) bytes.")
        }
        frameCount += 1
        return memory + (frameCount - 1) * frameBytes
    }

    /// Adds a copy of the last frame.
    func repeatLast() throws {
        let target = try appendFrame()
        target.copyMemory(from: target - frameBytes, byteCount: frameBytes)
    }

    /// The frames as a tensor that shares this memory; nothing may be appended afterwards.
    func tensor(shape: [Int]) throws -> Tensor {
        try Tensor(
            borrowing: UnsafeRawBufferPointer(start: memory, count: frameCount * frameBytes), shape: shape,
            dtype: .uint8, owner: self)
    }
}
