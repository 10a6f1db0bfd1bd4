import Foundation
import Testing

@testable import Training

@Suite struct EventLogTests {
    // What tensorboard 2.21's RecordWriter makes of the same three events.
    static let scalar =
        "2100000000000000017becf609000000000000f83f10ac022a130a110a0a747261696e2f6c6f7373150000803e6557981f"
    static let version = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c"
    static let start = "0f000000000000006d532b0909000000000000f83f10073a020801774771c7"

    @Test("the checksum is CRC-32C")
    func checksum() {
        #expect(EventRecord.checksum(Data("123456789".utf8)) == 0xe306_9283)
        #expect(EventRecord.checksum(Data()) == 0)
        // RFC 3720, B.4.
        #expect(EventRecord.checksum(Data(repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(EventRecord.checksum(Data(repeating: 0xff, count: 32)) == 0x62a8_ab43)
    }

    @Test("a record has the bytes that TensorBoard's own writer makes")
    func bytes() {
        let hex = EventRecord(step: 300, time: 1.5, content: .scalar(tag: "train/loss", value: 0.25)).framed
            .map { String(format: "%02x", $0) }.joined()
        #expect(hex == Self.scalar)
        let version = EventRecord(step: 0, time: 1.5, content: .fileVersion).framed
            .map { String(format: "%02x", $0) }.joined()
        #expect(version == Self.version)
        let start = EventRecord(step: 7, time: 1.5, content: .start).framed
            .map { String(format: "%02x", $0) }.joined()
        #expect(start == Self.start)
    }

    @Test("a run writes its curves once a process, with where each goes on")
    func run() throws {
        let place = try RunPlace()
        var settings = TrainingSettings()
        (settings.steps, settings.logEvery, settings.evaluateEvery, settings.checkpointEvery) = (6, 2, 3, 3)
        #expect(try place.train(LineTask(), settings, stopsAfter: 4) == .stopped(step: 4))
        #expect(try place.train(LineTask(), settings, resumes: true) == .finished)
        let tags = try place.names("events").flatMap { try Self.tags(place.bytes("events/" + $0)) }
        #expect(try place.names("events").count == 2)
        #expect(tags.filter { $0 == "train/loss" }.count == 3)
        #expect(tags.filter { $0 == "evaluation/weight" }.count == 2)
        settings.writesEvents = false
        let silent = try RunPlace()
        _ = try silent.train(LineTask(), settings)
        #expect(!FileManager.default.fileExists(atPath: silent.file("events")))
    }

    @Test("pictures are written with their size; what is no PNG is left out")
    func pictures() throws {
        let place = try RunPlace()
        let log = try EventLog(folder: place.path + "/events", step: 0)
        var png = Data([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52])
        png.append(contentsOf: [0, 0, 1, 44, 0, 0, 0, 20])
        try png.write(to: URL(fileURLWithPath: place.path + "/a.png"))
        try Data("no picture".utf8).write(to: URL(fileURLWithPath: place.path + "/b.png"))
        try log.append(pictureAt: place.path + "/a.png", step: 5)
        try log.append(pictureAt: place.path + "/b.png", step: 5)
        try log.append(pictureAt: place.path + "/none.png", step: 5)
        let file = try #require(FileManager.default.contentsOfDirectory(atPath: place.path + "/events").first)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: place.path + "/events/" + file))
        #expect(try Self.tags(bytes) == ["samples"])
        // Height 20 and width 300, as fields 1 and 2 of the image.
        #expect(bytes.range(of: Data([0x08, 20, 0x10, 0xac, 0x02, 0x18, 3])) != nil)
        #expect(bytes.range(of: png) != nil)
    }

    /// The tags of a file's records, whose frames are checked on the way.
    private static func tags(_ file: Data) throws -> [String] {
        var rest = file[...]
        var tags: [String] = []
        while !rest.isEmpty {
            let length = Int(rest.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
            #expect(rest.dropFirst(8).prefix(4).elementsEqual(masked(Data(rest.prefix(8)))))
            let event = Data(rest.dropFirst(12).prefix(length))
            #expect(rest.dropFirst(12 + length).prefix(4).elementsEqual(masked(event)))
            rest = rest.dropFirst(16 + length)
            // Event.summary.value.tag: the first text that follows a tag's key and is a path or a name.
            let text = String(decoding: event, as: UTF8.self)
            for tag in ["train/loss", "evaluation/weight", "samples"] where text.contains(tag) { tags.append(tag) }
        }
        return tags
    }

    private static func masked(_ bytes: Data) -> [UInt8] {
        let value = EventRecord.checksum(bytes)
        let masked = (value >> 15 | value << 17) &+ 0xa282_ead8
        return (0..<4).map { UInt8(truncatingIfNeeded: masked >> (8 * UInt32($0))) }
    }
}
