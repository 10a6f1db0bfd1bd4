import Foundation
import TestSupport
import Testing

/// `PEER-TESTS.md` against the list of the peer's test functions and against what is there.
@Suite struct PeerTestListTests {
    private static let parity = fixturesFolder.deletingLastPathComponent()

    private static func lines(_ name: String) throws -> [Substring] {
        try String(contentsOf: parity.appendingPathComponent(name), encoding: .utf8).split(separator: "\n")
    }

    /// What stands between backticks.
    private static func quoted(_ text: Substring) -> [String] {
        text.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map {
            String($0.element)
        }
    }

    /// The cells of each row below the file that it belongs to.
    private static func rows() throws -> [(file: String, tests: [String], answer: Substring)] {
        var file = ""
        return try lines("PEER-TESTS.md").compactMap { line in
            if line.hasPrefix("`"), line.hasSuffix(".py`") { file = String(line.dropFirst().dropLast()) }
            guard line.hasPrefix("| `"), let middle = line.range(of: " | ") else { return nil }
            return (file, quoted(line[..<middle.lowerBound]), line[middle.upperBound...].dropLast(2))
        }
    }

    @Test("every test function of the peer has one row, and no row has another")
    func complete() throws {
        var file = ""
        var missing: [String: [String]] = [:]
        for line in try Self.lines("peer-tests.txt").dropFirst() {
            if line.hasPrefix(" ") {
                missing[file, default: []].append(String(line.dropFirst(2)))
            } else {
                file = String(line)
            }
        }
        #expect(missing.values.reduce(0) { $0 + $1.count } == 382)
        for row in try Self.rows() {
            for name in row.tests {
                // A bare name stands for all classes of the file that have such a function and are not named.
                let found = missing[row.file, default: []].filter { $0 == name || $0.hasSuffix(".\(name)") }
                #expect(!found.isEmpty, "\(row.file): \(name)")
                missing[row.file]?.removeAll { found.contains($0) }
            }
        }
        for (file, names) in missing { #expect(names.isEmpty, "\(file) lacks \(names)") }
    }

    @Test("every case and every suite that a row names is there")
    func named() throws {
        let cases = try FileManager.default.contentsOfDirectory(
            atPath: fixturesFolder.appendingPathComponent("forward").path)
        let folder = Self.parity.deletingLastPathComponent()
        let files = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        let sources = try files.filter { $0.hasSuffix(".swift") }.map {
            try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8)
        }
        for row in try Self.rows() {
            let names = Self.quoted(row.answer)
            #expect(!names.isEmpty || row.answer.hasPrefix("not applicable: "), "\(row.file): \(row.tests)")
            for name in names {
                let parts = name.split(separator: ".")
                if let suite = parts.first, suite.hasSuffix("Tests") {
                    let own = sources.filter { $0.contains("struct \(suite) ") }
                    #expect(!own.isEmpty, "there is no suite \(suite)")
                    if parts.count == 2 {
                        #expect(own.contains { $0.contains("func \(parts[1])(") }, "there is no test \(name)")
                    }
                } else if name.hasSuffix("*") {
                    #expect(cases.contains { $0.hasPrefix(name.dropLast()) }, "there is no case \(name)")
                } else {
                    #expect(cases.contains(name), "there is no case \(name)")
                }
            }
        }
    }
}
