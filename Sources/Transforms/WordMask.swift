import Tensors

/// Chooses the words that a text model has to guess: a share of a text's pieces, of which most are hidden, some replaced
/// and some left as they are.
///
/// What is chosen is a function of the ids and the key alone, whatever batch the text is in.
///
/// Source: Devlin et al. 2018, arXiv:1810.04805, section 3.1; whole words as in the authors' later models. The peer's
/// examples take both from `transformers`.
public struct WordMask: Sendable {
    /// What is chosen together.
    public enum Unit: String, Sendable, CaseIterable {
        /// Each piece for itself, with the share as its chance.
        case pieces
        /// All pieces of a word, as many words as the share of all pieces allows, at least one.
        case words
    }

    /// The share of pieces that are guessed, in `0...1`.
    public var share: Double
    /// What is chosen together.
    public var unit: Unit
    /// The id that hides a piece.
    public var maskID: Int
    /// The number of ids; those that replace a piece are drawn from all of them.
    public var vocabulary: Int
    /// Ids that are never chosen: padding, beginnings and ends, and the mask itself.
    public var special: Set<Int>
    /// The label of what is not guessed.
    public var ignored: Int
    /// Of what is guessed, the shares that are hidden and that are replaced by any id; the rest stays as it is.
    public var hidden = 0.8
    /// The share that is replaced.
    public var replaced = 0.1

    /// A mask of BERT's uncased vocabulary, unless something else is said.
    ///
    /// - Throws: ``TransformError`` for shares outside `0...1` and ids outside the vocabulary.
    public init(
        share: Double = 0.15, unit: Unit = .pieces, maskID: Int = 103, vocabulary: Int = 30522,
        special: Set<Int> = [0, 100, 101, 102, 103], ignored: Int = -1
    ) throws {
        guard (0...1).contains(share) else {
            throw TransformError("The share of words to mask must be from 0 to 1, but is \(share).")
        }
        guard vocabulary > 0, (0..<vocabulary).contains(maskID) else {
            throw TransformError("The id \(maskID) that hides words is not among the \(vocabulary) of the vocabulary.")
        }
        self.share = share
        self.unit = unit
        self.maskID = maskID
        self.vocabulary = vocabulary
        self.special = special
        self.ignored = ignored
    }

    /// Masks one text.
    ///
    /// - Parameters:
    ///   - ids: the text's pieces.
    ///   - key: where the choices come from.
    ///   - continues: whether an id goes on with the word before it, such as WordPiece's `##ing`; only asked for
    ///     ``Unit/words``.
    /// - Returns: the ids to read, and the labels: the ids that were there where they are to be guessed, ``ignored``
    ///   elsewhere.
    public func callAsFunction(
        _ ids: [Int], key: RandomKey, continues: (Int) -> Bool = { _ in false }
    ) -> (masked: [Int], labels: [Int]) {
        var (masked, labels) = (ids, [Int](repeating: ignored, count: ids.count))
        let actions = key.derived("action")
        for place in chosen(ids, key.derived("choice"), continues) {
            labels[place] = ids[place]
            let draw = fraction(actions, 2 * place)
            if draw < hidden {
                masked[place] = maskID
            } else if draw < hidden + replaced {
                masked[place] = actions.integer(below: vocabulary, index: 2 * place + 1)
            }
        }
        return (masked, labels)
    }

    /// The places that are guessed, ascending.
    private func chosen(_ ids: [Int], _ key: RandomKey, _ continues: (Int) -> Bool) -> [Int] {
        let open = ids.indices.filter { !special.contains(ids[$0]) }
        guard unit == .words else { return open.filter { fraction(key, $0) < share } }
        guard share > 0, !open.isEmpty else { return [] }
        var words: [[Int]] = []
        for place in open {
            if continues(ids[place]), let last = words.last?.last, last == place - 1 {
                words[words.count - 1].append(place)
            } else {
                words.append([place])
            }
        }
        let wanted = max(1, Int((share * Double(open.count)).rounded()))
        var places: [Int] = []
        // A word that is longer than what is still wanted is passed over.
        for word in key.permutation(words.count).map({ words[$0] }) where places.count + word.count <= wanted {
            places += word
        }
        return places.sorted()
    }

    /// A number in `0..<1`, by its place.
    private func fraction(_ key: RandomKey, _ index: Int) -> Double {
        Double(key.integer(below: 1 << 53, index: index)) / Double(1 << 53)
    }
}
