import Checkpoints
import Foundation
import JSON
import Models
import TestSupport
import Testing

/// A factory whose state dict the peer has listed, with its defaults.
struct KeyList: CustomTestStringConvertible, Sendable {
    let factory: String
    var testDescription: String { factory }

    static let all: [KeyList] = {
        let folder = fixturesFolder.appendingPathComponent("keys").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
            .filter { $0.hasSuffix(".json") }.map { KeyList(factory: String($0.dropLast(".json".count))) }
    }()
}

@Suite("State dicts have the peer's keys")
struct KeyListTests {
    @Test("a factory's parameters and buffers are the peer's, in name and shape", arguments: KeyList.all)
    func equalsThePeer(_ item: KeyList) throws {
        let fields = try JSONFields(fixtureJSON("keys", "\(item.factory).json"), source: item.factory)
        let module = try ModelRegistry.unfilled(item.factory, fields.fields("config"))
        let found = module.stateDictionary.mapValues(\.shape)
        let listed = try fields.fields("keys")
        let expected = Dictionary(
            uniqueKeysWithValues: try listed.object.keys.map { ($0, try listed.integers($0)) })
        #expect(!expected.isEmpty)
        let missing = expected.keys.filter { found[$0] == nil }.sorted()
        let unexpected = found.keys.filter { expected[$0] == nil }.sorted()
        let misshapen = expected.filter { found[$0.key] != nil && found[$0.key] != $0.value }.keys.sorted()
        #expect(missing.isEmpty, "missing: \(missing.prefix(10))")
        #expect(unexpected.isEmpty, "unexpected: \(unexpected.prefix(10))")
        #expect(misshapen.isEmpty, "of another shape: \(misshapen.prefix(10))")
    }
}
