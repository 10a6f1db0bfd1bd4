import Checkpoints
import Foundation
import JSON
import Models
import TestSupport
import Testing

/// A factory's model must have the peer's state dict, at its real size.
@Suite struct KeyListTests {
    static let factories: [String] = {
        let folder = fixturesFolder.appendingPathComponent("keys").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted().map {
            ($0 as NSString).deletingPathExtension
        }
    }()

    @Test("the key lists are there")
    func listsAreThere() { #expect(Self.factories.count >= 2) }

    @Test("the model of a factory has the peer's keys and shapes, and no others", arguments: factories)
    func keys(_ factory: String) throws {
        let list = try fixtureJSON("keys", "\(factory).json")
        let model = try ModelRegistry.unfilled(
            factory, .init(list["config"]?.objectValue ?? [:], source: "the key list"))
        var expected: [String: [Int]] = [:]
        for (key, shape) in try #require(list["keys"]?.objectValue).members {
            expected[key] = shape.arrayValue?.compactMap(\.integerValue)
        }
        let found = model.stateDictionary.mapValues(\.shape)
        #expect(Set(found.keys).subtracting(expected.keys).sorted() == [])
        #expect(Set(expected.keys).subtracting(found.keys).sorted() == [])
        for (key, shape) in expected { #expect(found[key] == shape, "\(key)") }
    }
}
