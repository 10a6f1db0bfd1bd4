import Foundation
import JSON
import Testing

@testable import Benchmarking

@Suite struct ReportTests {
    static let report = BenchmarkReport(
        model: "text_video_gpt", isRandom: true, date: Date(timeIntervalSince1970: 1_600_000_000),
        machine: MachineDescription(
            processor: "A Processor", processors: 2, instructionSet: "avx2", memory: 24e9, system: "A System"),
        limits: [2: MachineLimits(bandwidth: 40e9, arithmetic: 160e9)], repetitions: 3,
        rows: [
            BenchmarkRow(
                stage: .decode, weights: "int8", cache: "bf16", batch: 8, window: "1", depth: 1024, threads: 2,
                seconds: Spread([0.004, 0.002, 0.0025]), amount: 8, floor: 0.002, bound: .bandwidth,
                limits: MachineLimits(bandwidth: 40e9, arithmetic: 160e9)),
            BenchmarkRow(
                stage: .mux, threads: 2, seconds: Spread([2]), amount: 32,
                limits: MachineLimits(bandwidth: 39e9, arithmetic: 150e9)),
        ])

    @Test("the table has a line per row, aligned columns, and none that is empty throughout")
    func table() {
        let lines = Self.report.table
        #expect(lines.count == 3)
        #expect(Set(lines.map(\.count)).count == 1)
        #expect(
            lines[1].split(separator: " ").joined(separator: " ")
                == "decode int8 bf16 8 1 1024 2 2.50 ms 2.00 - 4.00 3200 tokens/s 80 % bandwidth")
        #expect(lines[2].split(separator: " ").joined(separator: " ") == "mux 2 2.00 s 2.00 - 2.00 16.0 frames/s")
        var bare = Self.report
        bare.rows.removeFirst()
        #expect(!bare.table[0].contains("weights") && bare.table[0].contains("threads"))
    }

    @Test("the heading names processor, instruction set, date, model and limits")
    func heading() {
        let text = Self.report.heading.joined(separator: "\n")
        for part in [
            "A Processor", "2 processors", "avx2", "24.0 GB", "2020-09-13T12:26:40Z", "random weights",
            "2 threads: reads 40.0 GB/s, computes 160 GFLOP/s",
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test("the JSON holds every number unrounded, and what does not concern a row is null")
    func json() throws {
        let text = Self.report.json.serialized(pretty: true)
        let json = try JSONValue.parse(text)
        #expect(json["machine"]?["instruction_set"]?.stringValue == "avx2")
        #expect(json["machine"]?["limits"]?.arrayValue?.first?["bandwidth"]?.doubleValue == 40e9)
        #expect(json["date"]?.stringValue == "2020-09-13T12:26:40Z")
        let rows = try #require(json["rows"]?.arrayValue)
        #expect(rows[0]["seconds"]?.doubleValue == 0.0025)
        #expect(rows[0]["repetitions"]?.arrayValue?.compactMap(\.doubleValue) == [0.004, 0.002, 0.0025])
        #expect(rows[0]["share"]?.doubleValue == 0.8)
        #expect(rows[0]["rate"]?.doubleValue == 3200)
        #expect(rows[1]["depth"] == .null && rows[1]["share"] == .null)
    }

    @Test("the CSV has as many fields in every line as names in the first")
    func csv() {
        let lines = Self.report.csv.split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false)
        }
        #expect(lines.count == 3)
        #expect(lines.allSatisfy { $0.count == lines[0].count })
        #expect(lines[0].prefix(3) == ["stage", "weights", "kv"])
        #expect(lines[1].prefix(8) == ["decode", "int8", "bf16", "", "8", "1", "1024", "2"])
        #expect(lines[1][8] == "0.0025")
        #expect(lines[2].prefix(3) == ["mux", "", ""])
    }
}
