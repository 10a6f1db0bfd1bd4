import CFFmpeg
import Foundation

/// What a ``VideoWriter`` hands its frames to.
protocol FrameOutput: AnyObject {
    /// Takes packed RGB rows.
    func append(rgb: UnsafePointer<UInt8>, stride: Int) throws
    /// Completes and names the files.
    func finish() throws -> [URL]
}

/// A video encoder and a container.
final class ContainerOutput: FrameOutput {
    private let destination: Destination
    private let muxer: Muxer
    private let encoder: Encoder
    private var count: Int64 = 0

    init(
        _ destination: Destination, container: String, width: Int, height: Int, frameRate: AVRational,
        encoder settings: EncoderSettings, muxer muxerSettings: [String: String], name: String
    ) throws {
        self.destination = destination
        muxer = try Muxer(destination, container: container)
        encoder = try Encoder(
            settings, width: width, height: height, timeBase: AVRational(num: frameRate.den, den: frameRate.num),
            frameRate: frameRate, needsGlobalHeader: muxer.needsGlobalHeader, name: name)
        try muxer.start(encoder, settings: muxerSettings)
    }

    func append(rgb: UnsafePointer<UInt8>, stride: Int) throws {
        try encoder.encode(rgb: rgb, stride: stride, timestamp: count) { try muxer.write($0, duration: 1) }
        count += 1
    }

    func finish() throws -> [URL] {
        try encoder.encode(nil) { try muxer.write($0, duration: 1) }
        try muxer.finish()
        try destination.commit()
        return [destination.url]
    }
}

/// A GIF: the palette is chosen from all frames, then they are coded.
final class GIFOutput: FrameOutput {
    private let destination: Destination
    private let filter: PaletteFilter
    private let width: Int
    private let height: Int
    private let frameRate: Double
    private let loops: Bool
    private var count = 0

    init(_ destination: Destination, width: Int, height: Int, frameRate: Double, loops: Bool) throws {
        guard width <= 65535, height <= 65535 else {
            throw MediaError(.cannotWrite, "A GIF may have 65535 pixels a side, not \(width) x \(height).")
        }
        self.destination = destination
        self.width = width
        self.height = height
        self.frameRate = frameRate
        self.loops = loops
        filter = try PaletteFilter(width: width, height: height)
    }

    /// GIF counts hundredths of a second; every frame is rounded by itself so that the rate holds on average.
    private func time(_ index: Int) -> Int64 { Int64((Double(index) * 100 / frameRate).rounded()) }

    func append(rgb: UnsafePointer<UInt8>, stride: Int) throws {
        try filter.append(rgb: rgb, stride: stride, timestamp: time(count))
        count += 1
    }

    func finish() throws -> [URL] {
        let muxer = try Muxer(destination, container: "gif")
        let encoder = try Encoder(
            EncoderSettings(codec: "gif", pixelFormat: AV_PIX_FMT_PAL8), width: width, height: height,
            timeBase: AVRational(num: 1, den: 100), frameRate: rationalFrameRate(frameRate),
            needsGlobalHeader: muxer.needsGlobalHeader, name: destination.url.lastPathComponent)
        let lastDelay = time(count) - time(count - 1)
        try muxer.start(encoder, settings: ["loop": loops ? "0" : "-1", "final_delay": "\(lastDelay)"])
        var index = 0
        func write(_ packet: UnsafeMutablePointer<AVPacket>) throws {
            try muxer.write(packet, duration: time(index + 1) - time(index))
            index += 1
        }
        try filter.finish { frame in
            frame.pointee.pict_type = AV_PICTURE_TYPE_NONE
            try encoder.encode(frame, write)
        }
        try encoder.encode(nil, write)
        try muxer.finish()
        try destination.commit()
        return [destination.url]
    }
}

/// One picture file per frame, or a single one.
final class PictureOutput: FrameOutput {
    private let pattern: PicturePattern?
    private let folder: URL
    private var pending: [Destination] = []
    private let single: Destination?
    private let settings: EncoderSettings
    private let width: Int
    private let height: Int
    private let name: String
    private var count = 0

    init(
        url: URL, single: Destination?, width: Int, height: Int, settings: EncoderSettings, name: String
    ) throws {
        pattern = single == nil ? PicturePattern(url.lastPathComponent) : nil
        folder = url.deletingLastPathComponent()
        self.single = single
        self.settings = settings
        self.width = width
        self.height = height
        self.name = name
    }

    func append(rgb: UnsafePointer<UInt8>, stride: Int) throws {
        let destination: Destination
        if let single {
            destination = single
        } else {
            destination = try Destination(folder.appendingPathComponent(pattern?.name(count) ?? name))
            pending.append(destination)
        }
        let unit = AVRational(num: 1, den: 25)
        let encoder = try Encoder(
            settings, width: width, height: height, timeBase: unit, frameRate: AVRational(num: 25, den: 1),
            needsGlobalHeader: false, name: destination.url.lastPathComponent)
        var bytes = Data()
        let take = { (packet: UnsafeMutablePointer<AVPacket>) in
            bytes.append(packet.pointee.data, count: Int(packet.pointee.size))
        }
        try encoder.encode(rgb: rgb, stride: stride, timestamp: 0, take)
        try encoder.encode(nil, take)
        try write(bytes, to: destination)
        count += 1
    }

    func finish() throws -> [URL] {
        let files = single.map { [$0] } ?? pending
        for file in files { try file.commit() }
        return files.map(\.url)
    }

    private func write(_ bytes: Data, to destination: Destination) throws {
        let descriptor = open(destination.temporaryPath, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard descriptor >= 0 else { throw destination.failed(errno) }
        defer { close(descriptor) }
        try bytes.withUnsafeBytes { buffer in
            var written = 0
            while written < buffer.count, let base = buffer.baseAddress {
                #if canImport(Glibc)
                    let step = Glibc.write(descriptor, base + written, buffer.count - written)
                #else
                    let step = Darwin.write(descriptor, base + written, buffer.count - written)
                #endif
                if step < 0 {
                    if errno == EINTR { continue }
                    throw destination.failed(errno)
                }
                written += step
            }
        }
    }
}

/// A file name with a place for a number: `frame_%04d.png` or `frame_%d.png`.
struct PicturePattern {
    private let before: Substring
    private let after: Substring
    private let digits: Int

    init?(_ name: String) {
        guard let match = name.firstMatch(of: /%(?:0([1-9]))?d/) else { return nil }
        before = name[..<match.range.lowerBound]
        after = name[match.range.upperBound...]
        digits = match.output.1.flatMap { Int($0) } ?? 1
    }

    func name(_ number: Int) -> String {
        let text = String(number)
        return before + String(repeating: "0", count: max(0, digits - text.count)) + text + after
    }
}
