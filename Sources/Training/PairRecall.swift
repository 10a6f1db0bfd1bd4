import Foundation

/// Which captions belong to which pictures or clips, and how well similarities find them.
///
/// Captions that are the same are one, and so are clips of one name: a caption is to find any of its clips, a clip any of
/// its captions.
struct PairRecall {
    /// For each different clip, the pair where it stands first.
    let clips: [Int]
    /// For each different caption, the pair where it stands first.
    let captions: [Int]
    /// The places in `captions` and `clips` of each pair.
    private let pairs: [(caption: Int, clip: Int)]

    /// Takes pairs of names and captions.
    init(names: [String], captions texts: [String]) {
        func distinct(_ values: [String]) -> (first: [Int], places: [Int]) {
            var (known, first): ([String: Int], [Int]) = ([:], [])
            let places = values.enumerated().map { index, value in
                if let place = known[value] { return place }
                known[value] = first.count
                first.append(index)
                return first.count - 1
            }
            return (first, places)
        }
        let (clips, captions) = (distinct(names), distinct(texts))
        (self.clips, self.captions) = (clips.first, captions.first)
        pairs = zip(captions.places, clips.places).map { ($0, $1) }
    }

    /// The pairs of a source.
    init(_ source: any ClipSource, _ places: [Int]) {
        self.init(names: places.map { source.name($0) }, captions: places.map { source.caption($0) })
    }

    /// Which pairs match one another: those of one clip or one caption have one number, counted from 0.
    var groups: [Int] {
        var parents = Array(0..<captions.count + clips.count)
        func root(_ place: Int) -> Int {
            var place = place
            while parents[place] != place { place = parents[place] }
            return place
        }
        for (caption, clip) in pairs {
            let (one, other) = (root(caption), root(captions.count + clip))
            parents[max(one, other)] = min(one, other)
        }
        var numbers: [Int: Int] = [:]
        return pairs.map { caption, _ in
            let place = root(caption)
            let number = numbers[place] ?? numbers.count
            numbers[place] = number
            return number
        }
    }

    /// The shares of captions that find a clip of theirs, and of clips that find a caption, among the best few.
    ///
    /// - Parameters:
    ///   - toClip: of each of ``captions`` with each of ``clips``, by rows.
    ///   - toText: of each of ``captions`` with each of ``clips``, by rows, where it is asked from the other side; the
    ///     same when `nil`.
    ///   - depths: how many count as the best.
    ///   - sight: what clips are called.
    func recalls(_ toClip: [Float], toText: [Float]? = nil, depths: [Int], sight: String) -> Metrics {
        let width = clips.count
        let isMatch = pairs.reduce(into: [Bool](repeating: false, count: captions.count * width)) {
            $0[$1.caption * width + $1.clip] = true
        }
        let toText = toText ?? toClip
        /// How many wrong ones are at least as near as the nearest right one.
        func rank(_ places: [Int], _ scores: [Float]) -> Int {
            let own = places.filter { isMatch[$0] }.map { scores[$0] }.max() ?? 0
            return places.count { !isMatch[$0] && scores[$0] >= own }
        }
        let ofCaptions = captions.indices.map { row in rank((0..<width).map { row * width + $0 }, toClip) }
        let ofClips = clips.indices.map { column in rank(captions.indices.map { $0 * width + column }, toText) }
        func recall(_ ranks: [Int], _ depth: Int) -> Double {
            Double(ranks.count { $0 < depth }) / Double(max(ranks.count, 1))
        }
        return depths.flatMap { depth in
            [
                ("text_to_\(sight)@\(depth)", recall(ofCaptions, depth)),
                ("\(sight)_to_text@\(depth)", recall(ofClips, depth)),
            ]
        }
    }
}
