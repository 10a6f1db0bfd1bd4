import Foundation

extension BenchmarkReport {
    /// What it was measured on, as lines for a person.
    public var heading: [String] {
        var lines = [
            "\(machine.processor), \(machine.processors) processors, \(machine.instructionSet), "
                + "\(Self.short(machine.memory / 1e9)) GB of memory, \(machine.system)",
            "\(dateText); model \(model)\(isRandom ? " with random weights" : ""); "
                + "\(repetitions) repetitions after a warm-up",
        ]
        for (threads, limits) in limits.sorted(by: { $0.key < $1.key }) {
            lines.append(
                "\(threads) thread\(threads == 1 ? "" : "s"): reads \(Self.short(limits.bandwidth / 1e9)) GB/s, computes "
                    + "\(Self.short(limits.arithmetic / 1e9)) GFLOP/s at most")
        }
        return lines
    }

    /// The rows as a table for a person: the median with the range in brackets, the rate, and the share of the limit that
    /// was measured beside the row.
    public var table: [String] {
        let header = [
            "stage", "weights", "kv", "precision", "batch", "window", "depth", "threads", "time", "range", "rate",
            "of the limit",
        ]
        let rows = rows.map(Self.cells)
        // A column that no stage fills is left out.
        let kept = header.indices.filter { column in rows.contains { !$0[column].isEmpty } }
        let all = ([header] + rows).map { row in kept.map { row[$0] } }
        let widths = kept.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let line = zip(row, widths).enumerated().map { index, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return index == 0 ? cell.0 + space : space + cell.0
            }
            return line.joined(separator: "  ")
        }
    }

    private static func cells(_ row: BenchmarkRow) -> [String] {
        let scale = unit(row.seconds.median)
        let share = row.share.map { "\(Int(($0 * 100).rounded())) % \(row.bound?.rawValue ?? "")" }
        return [
            row.stage.rawValue, row.weights ?? "", row.cache ?? "", row.precision ?? "",
            row.batch.map(String.init) ?? "", row.window ?? "", row.depth.map(String.init) ?? "", String(row.threads),
            "\(short(row.seconds.median * scale.factor)) \(scale.name)",
            "\(short(row.seconds.least * scale.factor)) - \(short(row.seconds.most * scale.factor))",
            "\(short(row.rate)) \(row.stage.unit)/s", share ?? "",
        ]
    }

    private static func unit(_ seconds: Double) -> (name: String, factor: Double) {
        seconds >= 1 ? ("s", 1) : seconds >= 1e-3 ? ("ms", 1e3) : ("us", 1e6)
    }

    /// About three digits, or all of a whole number of more.
    static func short(_ value: Double) -> String {
        switch abs(value) {
        case ..<0.1: String(format: "%.4f", value)
        case ..<1: String(format: "%.3f", value)
        case 100...: String(format: "%.0f", value)
        case 10..<100: String(format: "%.1f", value)
        default: String(format: "%.2f", value)
        }
    }
}
