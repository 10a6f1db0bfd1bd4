/// The words under training, with the frequency of every neighbouring pair kept up to date.
struct PairLearner {
    private struct Pair: Hashable {
        let left: Int
        let right: Int
    }

    private struct Candidate {
        let frequency: Int
        let pair: Pair
    }

    private var symbols: [[UInt8]] = []
    private var numberOfSymbol: [ByteString: Int] = [:]
    private var words: [[Int]] = []
    private var frequencies: [Int] = []
    private var frequencyOfPair: [Pair: Int] = [:]
    private var wordsOfPair: [Pair: Set<Int>] = [:]
    private var heap: [Candidate] = []
    private let minimumFrequency: Int
    private let forbidden: Set<ByteString>
    private let joined: ([UInt8], [UInt8]) -> [UInt8]

    /// Begins with words as the symbols they consist of.
    ///
    /// - Parameters:
    ///   - words: each with how often it occurs; their order does not matter.
    ///   - minimumFrequency: how often a pair must occur to be joined.
    ///   - forbidden: symbols that are never made.
    ///   - joined: the symbol that two become.
    init(
        words counts: [(symbols: [[UInt8]], frequency: Int)], minimumFrequency: Int, forbidden: Set<ByteString>,
        joined: @escaping ([UInt8], [UInt8]) -> [UInt8] = { $0 + $1 }
    ) {
        self.minimumFrequency = minimumFrequency
        self.forbidden = forbidden
        self.joined = joined
        for (symbols, frequency) in counts {
            words.append(symbols.map { intern($0) })
            frequencies.append(frequency)
            for (left, right) in zip(words[words.count - 1], words[words.count - 1].dropFirst()) {
                change(Pair(left: left, right: right), by: frequency, word: words.count - 1)
            }
        }
        for (pair, frequency) in frequencyOfPair { push(Candidate(frequency: frequency, pair: pair)) }
    }

    private mutating func intern(_ bytes: [UInt8]) -> Int {
        let key = ByteString(bytes)
        if let known = numberOfSymbol[key] { return known }
        symbols.append(bytes)
        numberOfSymbol[key] = symbols.count - 1
        return symbols.count - 1
    }

    private mutating func change(_ pair: Pair, by amount: Int, word: Int) {
        frequencyOfPair[pair, default: 0] += amount
        if amount > 0 { wordsOfPair[pair, default: []].insert(word) }
    }

    /// Joins the best pair everywhere and returns its symbols; `nil` if no pair is frequent enough.
    mutating func joinBest() -> ([UInt8], [UInt8])? {
        while let candidate = pop() {
            let pair = candidate.pair
            let frequency = frequencyOfPair[pair] ?? 0
            guard frequency >= minimumFrequency else { continue }
            guard frequency == candidate.frequency else {
                // Stale: back with today's number, unless a newer entry already has it or more.
                if frequency < candidate.frequency { push(Candidate(frequency: frequency, pair: pair)) }
                continue
            }
            let (left, right) = (symbols[pair.left], symbols[pair.right])
            let product = joined(left, right)
            guard !forbidden.contains(ByteString(product)) else { continue }
            join(pair, product: intern(product))
            return (left, right)
        }
        return nil
    }

    private mutating func join(_ pair: Pair, product: Int) {
        var touched: Set<Pair> = []
        for index in wordsOfPair.removeValue(forKey: pair) ?? [] {
            let old = words[index]
            var new: [Int] = []
            new.reserveCapacity(old.count)
            var position = 0
            while position < old.count {
                if position + 1 < old.count, old[position] == pair.left, old[position + 1] == pair.right {
                    new.append(product)
                    position += 2
                } else {
                    new.append(old[position])
                    position += 1
                }
            }
            guard new.count < old.count else { continue }
            words[index] = new
            for (left, right) in zip(old, old.dropFirst()) {
                change(Pair(left: left, right: right), by: -frequencies[index], word: index)
            }
            for (left, right) in zip(new, new.dropFirst()) {
                change(Pair(left: left, right: right), by: frequencies[index], word: index)
                touched.insert(Pair(left: left, right: right))
            }
        }
        frequencyOfPair[pair] = nil
        for pair in touched {
            if let frequency = frequencyOfPair[pair], frequency >= minimumFrequency {
                push(Candidate(frequency: frequency, pair: pair))
            }
        }
    }

    private func comesBefore(_ a: Candidate, _ b: Candidate) -> Bool {
        if a.frequency != b.frequency { return a.frequency > b.frequency }
        if a.pair.left != b.pair.left {
            return symbols[a.pair.left].lexicographicallyPrecedes(symbols[b.pair.left])
        }
        return symbols[a.pair.right].lexicographicallyPrecedes(symbols[b.pair.right])
    }

    private mutating func push(_ candidate: Candidate) {
        heap.append(candidate)
        var child = heap.count - 1
        while child > 0, comesBefore(heap[child], heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    private mutating func pop() -> Candidate? {
        guard let top = heap.first else { return nil }
        let last = heap.removeLast()
        if heap.isEmpty { return top }
        heap[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            if child >= heap.count { break }
            if child + 1 < heap.count, comesBefore(heap[child + 1], heap[child]) { child += 1 }
            if !comesBefore(heap[child], heap[parent]) { break }
            heap.swapAt(parent, child)
            parent = child
        }
        return top
    }
}
