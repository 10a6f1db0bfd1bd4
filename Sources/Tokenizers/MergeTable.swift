/// The merge rules of a byte-pair encoding over interned symbols, and the merging itself.
///
/// Every symbol is a string known by a small number. Symbols that no rule knows are given negative numbers by the caller
/// and never merge.
struct MergeTable: Sendable {
    private struct Rule {
        let rank: Int32
        let product: Int32
    }

    /// Words of at most this many symbols are merged by scanning, longer ones with a heap; the results are the same.
    static let scanningLimit = 48
    private static let noRule = Int32.max

    private(set) var symbols: [[UInt8]] = []
    private var numberOfSymbol: [ByteString: Int32] = [:]
    private var rules: [UInt64: Rule] = [:]

    /// The number of a symbol, giving it one if it is new.
    mutating func intern(_ bytes: [UInt8]) -> Int32 {
        let key = ByteString(bytes)
        if let known = numberOfSymbol[key] { return known }
        let number = Int32(symbols.count)
        symbols.append(bytes)
        numberOfSymbol[key] = number
        return number
    }

    /// The number of a symbol, if it has one.
    func number(of bytes: [UInt8]) -> Int32? {
        numberOfSymbol[ByteString(bytes)]
    }

    /// Adds the rule that joins two symbols; the lower the rank, the sooner it applies.
    ///
    /// - Returns: `false` if the pair already had a rule, which then stays.
    mutating func addRule(_ left: [UInt8], _ right: [UInt8], rank: Int) -> Bool {
        let key = Self.key(intern(left), intern(right))
        guard rules[key] == nil else { return false }
        rules[key] = Rule(rank: Int32(rank), product: intern(left + right))
        return true
    }

    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    private func rank(_ left: Int32, _ right: Int32) -> Int32 {
        rules[Self.key(left, right)]?.rank ?? Self.noRule
    }

    /// Merges a word: as long as a neighbouring pair has a rule, all occurrences of the pair of lowest rank are joined,
    /// from left to right.
    ///
    /// - Complexity: O(n log n) for words above ``scanningLimit`` symbols.
    func merge(_ word: [Int32]) -> [Int32] {
        if word.count < 2 { return word }
        return word.count <= Self.scanningLimit ? mergeByScanning(word) : mergeWithHeap(word)
    }

    func mergeByScanning(_ word: [Int32]) -> [Int32] {
        var word = word
        var ranks: [Int32] = []
        ranks.reserveCapacity(word.count)
        for index in 0..<max(word.count - 1, 0) { ranks.append(rank(word[index], word[index + 1])) }
        while let lowest = ranks.min(), lowest != Self.noRule {
            // A pair is recognised by its rank, which no other pair has.
            var kept = 0
            var index = 0
            var previousWasJoined = false
            while index < word.count {
                let isJoined = index < ranks.count && ranks[index] == lowest
                let pairRank = index < ranks.count ? ranks[index] : Self.noRule
                if isJoined {
                    word[kept] = rules[Self.key(word[index], word[index + 1])]?.product ?? word[index]
                } else {
                    word[kept] = word[index]
                }
                if kept > 0, isJoined || previousWasJoined {
                    ranks[kept - 1] = rank(word[kept - 1], word[kept])
                }
                if !isJoined, kept < ranks.count { ranks[kept] = pairRank }
                kept += 1
                index += isJoined ? 2 : 1
                previousWasJoined = isJoined
            }
            word.removeLast(word.count - kept)
            ranks.removeLast(ranks.count - (kept - 1))
        }
        return word
    }

    /// The same with a linked list of symbols and a heap of candidate pairs.
    ///
    /// All candidates of one rank are taken out together before any is joined, so that a pair which comes to life by
    /// one of these joins waits for the others, however low its rank.
    func mergeWithHeap(_ word: [Int32]) -> [Int32] {
        var symbol = word
        var next = (0..<word.count).map { Int32($0 + 1) }
        var previous = (0..<word.count).map { Int32($0 - 1) }
        var isAlive = [Bool](repeating: true, count: word.count)
        let end = Int32(word.count)
        var heap = MinimumHeap()
        for index in 0..<word.count - 1 {
            let value = rank(word[index], word[index + 1])
            if value != Self.noRule { heap.push(UInt64(value) << 32 | UInt64(index)) }
        }
        while let first = heap.pop() {
            let lowest = first >> 32
            var batch = [first]
            while let another = heap.first, another >> 32 == lowest {
                batch.append(another)
                _ = heap.pop()
            }
            for entry in batch {
                let left = Int(entry & 0xFFFF_FFFF)
                guard isAlive[left], next[left] != end else { continue }
                let right = Int(next[left])
                guard let rule = rules[Self.key(symbol[left], symbol[right])], UInt64(rule.rank) == lowest else {
                    continue
                }
                symbol[left] = rule.product
                isAlive[right] = false
                next[left] = next[right]
                if next[left] != end {
                    let after = Int(next[left])
                    previous[after] = Int32(left)
                    let value = rank(symbol[left], symbol[after])
                    if value != Self.noRule { heap.push(UInt64(value) << 32 | UInt64(left)) }
                }
                if previous[left] >= 0 {
                    let before = Int(previous[left])
                    let value = rank(symbol[before], symbol[left])
                    if value != Self.noRule { heap.push(UInt64(value) << 32 | UInt64(before)) }
                }
            }
        }
        return word.indices.filter { isAlive[$0] }.map { symbol[$0] }
    }
}

/// A binary heap of numbers, the smallest first.
struct MinimumHeap {
    private var items: [UInt64] = []

    var first: UInt64? { items.first }

    mutating func push(_ item: UInt64) {
        items.append(item)
        var child = items.count - 1
        while child > 0, items[child] < items[(child - 1) / 2] {
            items.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop() -> UInt64? {
        guard let top = items.first else { return nil }
        let last = items.removeLast()
        if items.isEmpty { return top }
        items[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= items.count { break }
            if child + 1 < items.count, items[child + 1] < items[child] { child += 1 }
            if items[parent] <= items[child] { break }
            items.swapAt(parent, child)
            parent = child
        }
        return top
    }
}
