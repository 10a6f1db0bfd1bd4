import Foundation
import JSON

extension BenchmarkReport {
    /// The report as JSON; times in seconds, rates and limits per second.
    public var json: JSONValue {
        var machine: JSONObject = [
            "processor": .string(self.machine.processor), "processors": .integer(self.machine.processors),
            "instruction_set": .string(self.machine.instructionSet), "memory": .number(self.machine.memory),
            "system": .string(self.machine.system),
        ]
        if let distortion = self.machine.distortion { machine["distortion"] = .string(distortion) }
        machine["limits"] = .array(
            limits.sorted { $0.key < $1.key }.map { threads, limits in
                [
                    "threads": .integer(threads), "bandwidth": .number(limits.bandwidth),
                    "arithmetic": .number(limits.arithmetic),
                ]
            })
        return [
            "date": .string(dateText), "model": .string(model), "random_weights": .bool(isRandom),
            "repetitions": .integer(repetitions), "machine": .object(machine),
            "rows": .array(rows.map { .object(Self.fields($0)) }),
        ]
    }

    /// The rows as comma-separated values, the names of the columns first; a field that does not concern a row is empty.
    public var csv: String {
        let columns = Self.columns
        let lines = rows.map { row -> String in
            let fields = Self.fields(row)
            return columns.map { Self.field(fields[$0]) }.joined(separator: ",")
        }
        return ([columns.joined(separator: ",")] + lines).map { $0 + "\n" }.joined()
    }

    private static let columns = [
        "stage", "weights", "kv", "precision", "batch", "window", "depth", "threads", "seconds", "least", "most",
        "rate",
        "unit", "passes", "floor", "share", "bound", "bandwidth", "arithmetic",
    ]

    private static func fields(_ row: BenchmarkRow) -> JSONObject {
        func integer(_ value: Int?) -> JSONValue { value.map { .integer($0) } ?? .null }
        func number(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
        func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
        return [
            "stage": .string(row.stage.rawValue), "weights": text(row.weights), "kv": text(row.cache),
            "precision": text(row.precision), "batch": integer(row.batch), "window": text(row.window),
            "depth": integer(row.depth),
            "threads": .integer(row.threads), "seconds": .number(row.seconds.median),
            "least": .number(row.seconds.least), "most": .number(row.seconds.most),
            "repetitions": .array(row.seconds.values.map { .number($0) }), "rate": .number(row.rate),
            "unit": .string(row.stage.unit + "/s"), "passes": integer(row.passes), "floor": number(row.floor),
            "share": number(row.share), "bound": text(row.bound?.rawValue), "bandwidth": .number(row.limits.bandwidth),
            "arithmetic": .number(row.limits.arithmetic),
        ]
    }

    /// No name or label here holds a comma or a quote.
    private static func field(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text): text
        case .integer(let number): String(number)
        case .number(let number): String(number)
        default: ""
        }
    }
}
