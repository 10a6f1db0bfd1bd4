/// How many phrases find one of their boxes among the first k, by kind of phrase (Flickr30k Entities, Plummer et al. 2015,
/// arXiv:1505.04870), after examples/mdetr/data/flickr_eval.py.
public struct GroundingRecall: Sendable {
    /// What counts as a phrase's box.
    public enum Rule: String, Sendable, CaseIterable {
        /// Any of its boxes.
        case any
        /// The smallest box around all of them.
        case merged
    }

    /// The phrases of one kind.
    public struct Counts: Sendable, Equatable {
        /// How many there were.
        public var phrases = 0
        /// How many found a box among the first k, in the order of ``GroundingRecall/cutoffs``, and among all.
        public var hits: [Int]
        /// The shares, as ``hits``.
        public var recalls: [Double] { hits.map { Double($0) / Double(max(phrases, 1)) } }
    }

    /// What counts as a phrase's box.
    public let rule: Rule
    /// The numbers of first boxes that are looked at; all of them are, besides.
    public let cutoffs: [Int]
    /// The overlap from which on a box is found.
    public let threshold: Double
    /// By kind; `all` holds every phrase.
    public private(set) var byKind: [String: Counts] = [:]

    /// A count that begins with nothing.
    public init(rule: Rule, cutoffs: [Int] = [1, 5, 10], threshold: Double = 0.5) {
        self.rule = rule
        self.cutoffs = cutoffs
        self.threshold = threshold
    }

    /// Counts a phrase.
    ///
    /// - Parameters:
    ///   - predicted: boxes, the best first.
    ///   - targets: the phrase's boxes; phrases without any are not counted.
    ///   - kinds: what kinds of thing the phrase names (`people`, `clothing`, ...).
    public mutating func add(_ predicted: [PixelBox], targets: [PixelBox], kinds: [String]) {
        guard let around = PixelBox.around(targets) else { return }
        let wanted = rule == .merged ? [around] : targets
        let first = predicted.firstIndex { box in wanted.contains { box.overlap(with: $0) >= threshold } }
        for kind in ["all"] + kinds {
            var counts = byKind[kind] ?? Counts(hits: [Int](repeating: 0, count: cutoffs.count + 1))
            counts.phrases += 1
            for (place, cutoff) in (cutoffs + [.max]).enumerated() where first.map({ $0 < cutoff }) ?? false {
                counts.hits[place] += 1
            }
            byKind[kind] = counts
        }
    }
}
