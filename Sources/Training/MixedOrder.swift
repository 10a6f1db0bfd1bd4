import Tensors

/// Items of several kinds: each step has items of one kind, and the kinds take turns in shuffled order.
///
/// An epoch has so many steps of each kind; a kind's items come in shuffled epochs of their own, so that each is visited as
/// often as any other of its kind.
struct MixedOrder: ItemSequence {
    /// The items of a kind.
    struct Part: Sendable {
        /// The first one's number among all.
        let first: Int
        let count: Int
        /// How many steps of an epoch are this kind's, as a share of those that its items fill.
        let share: Double

        /// The steps of an epoch; at least one.
        func steps(batch: Int) -> Int {
            max(1, Int(min(share * Double((count + batch - 1) / batch), 1e9)))
        }
    }

    private let parts: [Part]
    private let batch: Int
    private let key: RandomKey
    /// How many items of each kind are repeated without shuffling; 0 for all, in shuffled epochs.
    private let cycle: Int
    private let steps: [Int]
    private var orders: [ItemOrder]
    private var epoch = -1
    /// For each step of the epoch, its kind, and how many steps of this kind were before it.
    private var turns: [(part: Int, rank: Int)] = []

    init(_ parts: [Part], key: RandomKey, batch: Int, cycle: Int = 0) {
        self.parts = parts
        self.batch = batch
        self.key = key
        self.cycle = cycle
        steps = parts.map { $0.steps(batch: batch) }
        orders = parts.enumerated().map { ItemOrder(count: $1.count, key: key.derived("part", $0)) }
    }

    mutating func item(at position: Int) -> TrainingItem {
        if cycle > 0 {
            let (step, place) = position.quotientAndRemainder(dividingBy: batch)
            let (turn, kind) = step.quotientAndRemainder(dividingBy: parts.count)
            return (parts[kind].first + (turn * batch + place) % min(cycle, parts[kind].count), 0)
        }
        let (step, place) = position.quotientAndRemainder(dividingBy: batch)
        let (wanted, within) = step.quotientAndRemainder(dividingBy: steps.reduce(0, +))
        if wanted != epoch { begin(wanted) }
        let turn = turns[within]
        let item = orders[turn.part].item(at: (wanted * steps[turn.part] + turn.rank) * batch + place)
        return (parts[turn.part].first + item.index, item.epoch)
    }

    private mutating func begin(_ wanted: Int) {
        epoch = wanted
        let kinds = steps.enumerated().flatMap { [Int](repeating: $0, count: $1) }
        var ranks = [Int](repeating: 0, count: parts.count)
        turns = key.derived("turns", wanted).permutation(kinds.count).map { place in
            defer { ranks[kinds[place]] += 1 }
            return (kinds[place], ranks[kinds[place]])
        }
    }
}
