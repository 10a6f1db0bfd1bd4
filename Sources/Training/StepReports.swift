import Distributed
import NeuralNets
import Tensors

/// What a pass gives beside gradients.
struct PassReport {
    var loss: Double
    var metrics: Metrics
    var observations: [PassObservation]
}

/// The reports of all passes of a step, in their order.
struct StepReports {
    /// The loss of each pass.
    let losses: [Double]
    /// The mean of each number that passes report, added up in their order.
    let metrics: Metrics
    /// Which tensors had a value in any pass.
    let isPresent: [Bool]
    /// For each pass, the values of its observations that count one by one.
    let values: [[[Tensor]]]

    /// Exchanges the reports of this process for those of all.
    ///
    /// - Parameters:
    ///   - own: of the passes of this process.
    ///   - present: which tensors had a value in any of them.
    init(_ own: [PassReport], present: [Bool], _ group: ProcessGroup, _ shares: PassShares) throws {
        var bytes: [UInt8] = present.map { $0 ? 1 : 0 }
        for report in own {
            for number in [report.loss] + report.metrics.map(\.value) {
                withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
            }
            for tensor in report.tensors.joined() { tensor.withUnsafeBytes { bytes.append(contentsOf: $0) } }
        }
        let model = own.first ?? PassReport(loss: 0, metrics: [], observations: [])
        var isPresent = present
        let passes = try shares.collect(group.allGather(bytes)) { reader in
            for item in isPresent.indices where try reader.byte() != 0 { isPresent[item] = true }
        } pass: { reader in
            (
                loss: try reader.double(), numbers: try model.metrics.map { _ in try reader.double() },
                values: try model.tensors.map { try $0.map { try reader.tensor(like: $0) } }
            )
        }
        let share = 1 / Double(shares.tree.passes)
        metrics = model.metrics.indices.map { place in
            let numbers = passes.map { $0.numbers[place] * share }
            return (model.metrics[place].name, numbers.dropFirst().reduce(numbers[0], +))
        }
        (losses, values, self.isPresent) = (passes.map(\.loss), passes.map(\.values), isPresent)
    }
}

extension PassReport {
    /// The values of observations that count one by one; none of the others.
    fileprivate var tensors: [[Tensor]] {
        observations.map { if case .each(let values, _) = $0 { values } else { [] } }
    }
}

/// What moves running statistics and codebooks at the end of a step.
struct StepStatistics {
    /// Of each pass of this process.
    let observations: [[PassObservation]]
    /// For each pass of the step, the values of its observations that count one by one.
    let values: [[[Tensor]]]
    let group: ProcessGroup
    let shares: PassShares

    /// Moves the modules: by one pass after another, or by the sums over them.
    func apply() throws {
        guard let first = observations.first else { return }
        precondition(
            observations.allSatisfy { $0.count == first.count }, "StepStatistics: passes went through other modules")
        for pass in values {
            for (observation, values) in zip(first, pass) {
                if case .each(_, let apply) = observation { apply(values) }
            }
        }
        let sums = try summed()
        var next = 0
        for (place, observation) in first.enumerated() {
            guard case .together(let own, let wanted, _, let apply) = observation else { continue }
            let sum = Array(sums[next..<next + own.count])
            next += own.count
            let count = wanted(sum)
            apply(sum, count > 0 ? try nominated(count, place) : [])
        }
    }

    /// The sums over all passes, in the order of the first pass's observations.
    private func summed() throws -> [Tensor] {
        let own = observations.map { pass in
            pass.flatMap { if case .together(let sums, _, _, _) = $0 { sums } else { [Tensor]() } }
        }
        guard let first = own.first, !first.isEmpty else { return [] }
        let reducer = TreeReducer(group, shares, shapes: first.map(\.shape))
        for pass in own {
            for (item, tensor) in pass.enumerated() { reducer.add(tensor, at: item) }
            reducer.endPass()
        }
        return try zip(reducer.finish(), first).map { $0 ?? Tensor.zeros($1.shape) }
    }

    /// What every pass nominates for an observation, in the order of passes.
    private func nominated(_ count: Int, _ place: Int) throws -> [[Tensor]] {
        let own = observations.map { pass in
            if case .together(_, _, let nominate, _) = pass[place] { nominate(count) } else { [Tensor]() }
        }
        var bytes: [UInt8] = []
        for pass in own {
            withUnsafeBytes(of: Int64(pass.first?.shape[0] ?? 0)) { bytes.append(contentsOf: $0) }
            for tensor in pass { tensor.withUnsafeBytes { bytes.append(contentsOf: $0) } }
        }
        return try shares.collect(group.allGather(bytes)) { _ in
        } pass: { reader in
            let rows = Int(try reader.integer())
            return try own[0].map { try reader.tensor(like: $0, rows: rows) }
        }
    }
}

extension PassShares {
    /// Reads what each process wrote of its passes, and puts them in the order of passes.
    ///
    /// - Parameters:
    ///   - parts: what the processes wrote.
    ///   - head: reads what comes before the passes.
    ///   - pass: reads what there is of one.
    fileprivate func collect<Value>(
        _ parts: [[UInt8]], head: (inout ByteReader) throws -> Void, pass: (inout ByteReader) throws -> Value
    ) throws -> [Value] {
        var all: [(pass: Int, value: Value)] = []
        for (rank, part) in parts.enumerated() {
            var reader = ByteReader(part)
            try head(&reader)
            for number in passes(of: rank) { all.append((number, try pass(&reader))) }
            try reader.requireEnd()
        }
        return all.sorted { $0.pass < $1.pass }.map(\.value)
    }
}

/// Reads what another process wrote.
private struct ByteReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private mutating func take(_ count: Int) throws -> Range<Int> {
        guard count >= 0, place + count <= bytes.count else { throw Self.mismatch() }
        place += count
        return place - count..<place
    }

    private static func mismatch() -> DistributedError {
        DistributedError(.mismatch, "The processes' passes do not report the same things: are they the same program?")
    }

    mutating func byte() throws -> UInt8 { bytes[try take(1).lowerBound] }
    mutating func double() throws -> Double { Double(bitPattern: UInt64(bitPattern: try integer())) }

    mutating func integer() throws -> Int64 {
        let range = try take(8)
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: range.lowerBound, as: Int64.self) }
    }

    /// A tensor of the same type and shape as another, but for the number of rows if one is given.
    mutating func tensor(like other: Tensor, rows: Int? = nil) throws -> Tensor {
        let shape = rows.map { [$0] + other.shape.dropFirst() } ?? other.shape
        let range = try take(shape.reduce(1, *) * other.dtype.byteCount)
        return try bytes.withUnsafeBytes {
            try Tensor(bytes: UnsafeRawBufferPointer(rebasing: $0[range]), shape: shape, dtype: other.dtype)
        }
    }

    func requireEnd() throws {
        if place != bytes.count { throw Self.mismatch() }
    }
}
