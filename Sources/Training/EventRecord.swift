import Foundation

/// One record of TensorBoard's event files: the protocol buffer `tensorflow.Event`, with the few fields that are used.
///
/// Source: `event.proto` and `summary.proto` of TensorBoard for the field numbers, the TFRecord format for the frame.
struct EventRecord {
    /// What an event says.
    enum Content {
        /// The version of the format; the first event of every file.
        case fileVersion
        /// The process starts at this step: what an earlier file says of this step and later ones no longer holds.
        case start
        /// A number under a name such as `train/loss`.
        case scalar(tag: String, value: Double)
        /// A picture as PNG; width and height in pixels.
        case image(tag: String, width: Int, height: Int, png: Data)
    }

    var step: Int
    /// Seconds since 1970.
    var time: Double
    var content: Content

    /// The record in its frame: length, checksum of the length, the event, checksum of the event.
    var framed: Data {
        let event = encoded
        var length = Data()
        withUnsafeBytes(of: UInt64(event.count).littleEndian) { length.append(contentsOf: $0) }
        var frame = length
        frame.append(Self.maskedChecksum(length))
        frame.append(event)
        frame.append(Self.maskedChecksum(event))
        return frame
    }

    // MARK: - The protocol buffer

    private var encoded: Data {
        var event = ProtocolBuffer()
        event.append(1, time)
        if step != 0 { event.append(2, step) }
        switch content {
        case .fileVersion: event.append(3, Data("brain.Event:2".utf8))
        case .start: event.append(7, ProtocolBuffer { $0.append(1, 1) }.bytes)
        case .scalar(let tag, let value):
            event.append(5, Self.summary(tag) { $0.append(2, Float(value)) })
        case .image(let tag, let width, let height, let png):
            let image = ProtocolBuffer {
                $0.append(1, height)
                $0.append(2, width)
                $0.append(3, 3)
                $0.append(4, png)
            }
            event.append(5, Self.summary(tag) { $0.append(4, image.bytes) })
        }
        return event.bytes
    }

    private static func summary(_ tag: String, _ fill: (inout ProtocolBuffer) -> Void) -> Data {
        let value = ProtocolBuffer {
            $0.append(1, Data(tag.utf8))
            fill(&$0)
        }
        return ProtocolBuffer { $0.append(1, value.bytes) }.bytes
    }

    // MARK: - The checksum

    /// CRC-32C, rotated and shifted as TFRecord wants it, little-endian.
    private static func maskedChecksum(_ bytes: Data) -> Data {
        let checksum = checksum(bytes)
        let masked = (checksum >> 15 | checksum << 17) &+ 0xa282_ead8
        return withUnsafeBytes(of: masked.littleEndian) { Data($0) }
    }

    /// CRC-32C (Castagnoli): the polynomial 0x1EDC6F41 with its bits reversed.
    static func checksum(_ bytes: Data) -> UInt32 {
        ~bytes.reduce(~0) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0x82f6_3b78 : value >> 1 }
    }
}

/// Writes the wire format of protocol buffers.
private struct ProtocolBuffer {
    private(set) var bytes = Data()

    init() {}
    init(_ fill: (inout ProtocolBuffer) -> Void) { fill(&self) }

    /// A variable-length integer; what is negative takes ten bytes.
    mutating func append(_ field: Int, _ value: Int) {
        varint(UInt64(field << 3))
        varint(UInt64(bitPattern: Int64(value)))
    }

    mutating func append(_ field: Int, _ value: Double) {
        varint(UInt64(field << 3 | 1))
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ field: Int, _ value: Float) {
        varint(UInt64(field << 3 | 5))
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ field: Int, _ value: Data) {
        varint(UInt64(field << 3 | 2))
        varint(UInt64(value.count))
        bytes.append(value)
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
