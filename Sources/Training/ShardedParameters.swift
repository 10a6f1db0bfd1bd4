import Distributed
import NeuralNets
import Tensors

/// The trained parameters of a module, of which each process keeps pieces only (Rajbhandari et al. 2019, arXiv:1910.02054,
/// stage 3).
///
/// Blocks that are computed twice are put together just before each time, and let go of when the next one is read; what
/// belongs to no block is there for as long as a pass takes. Gradients, moments and averages exist in pieces only.
final class ShardedParameters: ParameterKeeper {
    /// The pieces that this process keeps, each under the key of its parameter.
    let pieces: PieceList
    let group: ProcessGroup
    private let units: [Unit]
    private let byKey: [String: (unit: Int, item: Int)]
    private let places: [ObjectIdentifier: (unit: Int, item: Int)]
    private var present: Set<Int> = []
    private var lastBlock: Int?
    private var ahead: (unit: Int, memory: Pending<ScratchMemory>)?
    /// What is put together: the parameters, or their averages meanwhile.
    private var source: (String) -> Tensor?
    /// Whether it is something else than the parameters.
    private var isSubstituted = false

    private struct Unit {
        let entries: [(key: String, parameter: Parameter)]
        let layout: ShardLayout
        let isBlock: Bool
    }

    /// Takes the trained parameters of a module away, but for this process's pieces.
    init(_ module: Module, _ group: ProcessGroup) {
        self.group = group
        let trained = module.parameters.filter(\.parameter.isTrainable)
        let blocks = module.modules.filter { $0.module is any CheckpointedBlock }.map { $0.key + "." }
        var (units, rest): ([[(key: String, parameter: Parameter)]], [(key: String, parameter: Parameter)]) = (
            [], trained
        )
        for block in blocks {
            let own = rest.filter { $0.key.hasPrefix(block) }
            rest.removeAll { $0.key.hasPrefix(block) }
            if !own.isEmpty { units.append(own) }
        }
        let blockCount = units.count
        if !rest.isEmpty { units.append(rest) }
        self.units = units.enumerated().map { index, entries in
            Unit(
                entries: entries,
                layout: ShardLayout(counts: entries.map { $0.parameter.leaf.count }, size: group.size),
                isBlock: index < blockCount)
        }
        var places: [ObjectIdentifier: (unit: Int, item: Int)] = [:]
        var kept: [(key: String, parameter: Parameter)] = []
        for (index, unit) in self.units.enumerated() {
            for (item, entry) in unit.entries.enumerated() {
                places[ObjectIdentifier(entry.parameter)] = (index, item)
                let part = unit.layout.part(of: item, rank: group.rank)
                guard !part.isEmpty else { continue }
                kept.append((entry.key, Parameter(wrappedValue: entry.parameter.leaf.piece(part))))
            }
        }
        self.places = places
        byKey = Dictionary(
            uniqueKeysWithValues: self.units.enumerated().flatMap { index, unit in
                unit.entries.enumerated().map { ($0.element.key, (unit: index, item: $0.offset)) }
            })
        let list = PieceList(kept)
        pieces = list
        source = { list[$0] }
        for (_, parameter) in trained { parameter.sendAway(to: self) }
        MachineMemory.releaseUnused()
    }

    // MARK: - Values

    func bring(_ parameter: Parameter) {
        guard let (index, _) = places[ObjectIdentifier(parameter)] else { return }
        let unit = units[index]
        if unit.isBlock {
            if let lastBlock, lastBlock != index { release(lastBlock) }
        }
        let memory = gathered(index)
        for (item, entry) in unit.entries.enumerated() {
            let leaf = entry.parameter.leaf
            let first = unit.layout.offsets[item] * 4
            let value = try? memory.map {
                try Tensor(
                    borrowing: UnsafeRawBufferPointer(rebasing: $0.bytes[first..<first + leaf.count * 4]),
                    shape: leaf.shape, dtype: .float32, owner: $0)
            }
            // After a failure numbers do not matter: whoever waits for the step is told.
            entry.parameter.take(value ?? leaf)
        }
        present.insert(index)
        guard unit.isBlock else { return }
        // Blocks come one after another, forwards and then backwards.
        let next = index >= (lastBlock ?? -1) ? index + 1 : index - 1
        lastBlock = index
        if units.indices.contains(next), units[next].isBlock { ahead = (next, gather(next)) }
    }

    func correct(_ parameter: Parameter, to value: Tensor) {
        // Of averages nothing is kept.
        guard !isSubstituted, let (index, item) = places[ObjectIdentifier(parameter)] else { return }
        let unit = units[index]
        pieces.set(unit.entries[item].key, to: value.piece(unit.layout.part(of: item, rank: group.rank)))
    }

    private func gathered(_ index: Int) -> ScratchMemory? {
        defer { ahead = nil }
        if let ahead, ahead.unit == index { return try? ahead.memory.wait() }
        return try? gather(index).wait()
    }

    private func gather(_ index: Int) -> Pending<ScratchMemory> {
        let unit = units[index]
        let start = unit.layout.pieces[group.rank].lowerBound
        return group.gather(unit.layout) { target in
            for (item, entry) in unit.entries.enumerated() {
                let part = unit.layout.part(of: item, rank: group.rank)
                guard !part.isEmpty, let value = source(entry.key) else { continue }
                let first = (unit.layout.offsets[item] + part.lowerBound - start) * 4
                value.withUnsafeBytes {
                    UnsafeMutableRawBufferPointer(rebasing: target[first..<first + $0.count]).copyMemory(from: $0)
                }
            }
        }
    }

    private func release(_ index: Int) {
        guard present.remove(index) != nil else { return }
        for (_, parameter) in units[index].entries { parameter.sendAway(to: self) }
    }

    /// Lets go of everything that was put together.
    func releaseAll() {
        for index in present { release(index) }
        (lastBlock, ahead) = (nil, nil)
    }

    /// Does something with other values in place of the parameters.
    ///
    /// - Parameter values: this process's pieces of them, by key; the parameters themselves if `nil`.
    func with<Result>(_ values: [String: Tensor]?, _ body: () throws -> Result) rethrows -> Result {
        releaseAll()
        let kept = source
        if let values { (source, isSubstituted) = ({ values[$0] }, true) }
        defer {
            releaseAll()
            (source, isSubstituted) = (kept, false)
        }
        return try body()
    }

    /// Does something in this process alone with whole values in place of the parameters.
    func whole<Result>(_ values: [String: Tensor], _ body: () throws -> Result) rethrows -> Result {
        releaseAll()
        for entry in units.flatMap(\.entries) {
            values[entry.key].map { entry.parameter.take($0.reshaped(to: entry.parameter.leaf.shape)) }
        }
        defer { for entry in units.flatMap(\.entries) { entry.parameter.sendAway(to: self) } }
        return try body()
    }

    // MARK: - Gradients

    /// Sums gradients over the passes of a step and hands this process those of its pieces.
    func reducer(_ tree: PassTree, _ parameters: [(key: String, parameter: Parameter)]) -> ShardReducer {
        ShardReducer(
            group, tree, layouts: units.map(\.layout),
            places: parameters.compactMap {
                places[ObjectIdentifier($0.parameter)].map { (layout: $0.unit, item: $0.item) }
            })
    }

    /// The gradients of this process's pieces by key.
    ///
    /// - Parameters:
    ///   - sums: of the pieces of each unit.
    ///   - isPresent: whether a parameter has a gradient, by key.
    func gradients(_ sums: [Tensor], isPresent: (String) -> Bool) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (unit, sum) in zip(units, sums) {
            let start = unit.layout.pieces[group.rank].lowerBound
            for (item, entry) in unit.entries.enumerated() where isPresent(entry.key) {
                let part = unit.layout.part(of: item, rank: group.rank)
                guard !part.isEmpty else { continue }
                let first = unit.layout.offsets[item] + part.lowerBound - start
                result[entry.key] = sum.sliced(0, first..<first + part.count)
            }
        }
        return result
    }

    /// The root of the sum of squares over all processes' pieces, with the bits of `globalNorm` of the whole gradients.
    func norm(_ gradients: [String: Tensor]) throws -> Double {
        let entries = units.flatMap { unit in
            unit.entries.enumerated().map { (unit: unit, item: $0.offset, key: $0.element.key) }
        }
        var bytes: [UInt8] = []
        for entry in entries {
            for sum in gradients[entry.key]?.sumsOfSquares() ?? [] { withUnsafeBytes(of: sum) { bytes += $0 } }
        }
        let all = try group.allGather(bytes)
        var next = [Int](repeating: 0, count: group.size)
        var squares: [String: Double] = [:]
        let isPresent = try group.allGather(entries.map { gradients[$0.key] == nil ? 0 : 1 })
        for (place, entry) in entries.enumerated() {
            var sum = 0.0
            for rank in 0..<group.size where isPresent[rank][place] != 0 {
                let part = entry.unit.layout.part(of: entry.item, rank: rank)
                for _ in stride(from: 0, to: part.count, by: Tensor.squaresGrain) {
                    sum += all[rank].withUnsafeBytes { $0.loadUnaligned(fromByteOffset: next[rank], as: Double.self) }
                    next[rank] += 8
                }
            }
            squares[entry.key] = sum
        }
        return squares.keys.sorted().reduce(0.0) { $0 + (squares[$1] ?? 0) }.squareRoot()
    }

    // MARK: - Saved states

    /// This process's pieces of what was saved whole: of parameters, averages or an optimizer's states (`KEY.NAME`); what
    /// belongs to no parameter comes along.
    func pieces(of saved: [String: Tensor]) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, tensor) in saved {
            guard let (unit, item) = place(ofName: name) else {
                result[name] = tensor
                continue
            }
            let part = units[unit].layout.part(of: item, rank: group.rank)
            if !part.isEmpty { result[name] = tensor.piece(part) }
        }
        return result
    }

    /// Sets this process's pieces from whole parameters.
    func load(_ values: [String: Tensor]) {
        releaseAll()
        for (key, parameter) in pieces.parameters {
            guard let value = values[key], let (unit, item) = place(ofName: key) else { continue }
            parameter.wrappedValue = value.piece(units[unit].layout.part(of: item, rank: group.rank)).cast(to: .float32)
        }
    }

    /// The shape of the parameter that a saved tensor belongs to: one of its states, under `KEY.NAME`, or itself.
    func shape(ofName name: String) -> [Int]? {
        place(ofName: name).map { units[$0.unit].entries[$0.item].parameter.leaf.shape }
    }

    private func place(ofName name: String) -> (unit: Int, item: Int)? {
        if let place = byKey[name] { return place }
        guard let end = name.lastIndex(of: ".") else { return nil }
        return byKey[String(name[..<end])]
    }

}

/// Pieces of parameters, each under its parameter's key.
final class PieceList: Module {
    private let list: [(key: String, parameter: Parameter)]
    private let byKey: [String: Parameter]

    init(_ list: [(key: String, parameter: Parameter)]) {
        self.list = list
        byKey = Dictionary(uniqueKeysWithValues: list.map { ($0.key, $0.parameter) })
    }

    override var explicitParts: [(key: String, part: Any)]? { list.map { ($0.key, $0.parameter) } }

    subscript(key: String) -> Tensor? { byKey[key]?.wrappedValue.detached }

    /// Sets a piece, if this process has one of this parameter.
    func set(_ key: String, to value: Tensor) { byKey[key]?.wrappedValue = value }
}

extension Tensor {
    /// Some of the elements in row-major order, in memory of their own.
    fileprivate func piece(_ range: Range<Int>) -> Tensor {
        let flat = detached.contiguous().flattened().sliced(0, range)
        return flat.withUnsafeBytes { bytes in
            (try? Tensor(bytes: bytes, shape: [range.count], dtype: dtype)) ?? flat
        }
    }
}
