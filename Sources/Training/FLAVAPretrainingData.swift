import Checkpoints
import Foundation
import JSON
import NeuralNets
import Tensors
import Transforms

/// What FLAVA is pre-trained on: pictures with captions, pictures alone and texts alone, any of which may be missing.
public struct FLAVAPretrainingData: Sendable {
    /// All pictures.
    let clips: (any ClipSource)?
    /// Which of them are read together with their captions.
    let pairs: [Int]
    /// Which of them are seen alone.
    let pictures: [Int]
    /// The captions of the pairs as ids, filled to one length.
    let captions: [[Int]]
    /// Texts alone, likewise.
    let texts: [[Int]]
    /// Tells this data from other.
    let fingerprint: String

    /// Joins pictures and texts.
    ///
    /// - Parameters:
    ///   - clips: pictures; those without a caption are seen alone.
    ///   - texts: texts that stand alone.
    ///   - pairsAlone: whether the pictures and captions of pairs are learned from alone, too.
    ///   - encode: the ids of texts, `[texts, length]`, `int64`.
    init(
        _ clips: (any ClipSource)?, texts: [String], pairsAlone: Bool, encode: ([String]) throws -> Tensor
    ) throws {
        let places = Array(0..<(clips?.count ?? 0))
        let written = places.map { clips?.caption($0) ?? "" }
        self.clips = clips
        pairs = places.filter { written[$0].contains { !$0.isWhitespace } }
        let isPair = Set(pairs)
        pictures = pairsAlone ? places : places.filter { !isPair.contains($0) }
        func ids(_ texts: [String]) throws -> [[Int]] {
            guard !texts.isEmpty else { return [] }
            let table = try encode(texts)
            let (values, length) = (table.scalars(Int64.self), table.shape[1])
            return texts.indices.map { row in values[row * length..<(row + 1) * length].map { Int($0) } }
        }
        captions = try ids(pairs.map { written[$0] })
        self.texts = try ids(texts) + (pairsAlone ? captions : [])
        let numbers = self.texts.flatMap { $0.map { Int32(truncatingIfNeeded: $0) } }
        let sum = numbers.withUnsafeBytes { fileChecksum(of: $0) }
        fingerprint = "\(clips?.fingerprint ?? "none")-\(self.texts.count)-\(String(sum, radix: 16))-\(pairsAlone)"
    }

    /// The size of the largest kind: one of its samples is one item.
    var count: Int { max(pairs.count, pictures.count, texts.count) }
}

/// How FLAVA's pre-training hides parts of what it reads.
public struct FLAVAMasking: Sendable {
    /// Of texts alone.
    var texts: WordMask
    /// Of captions.
    var captions: WordMask
    /// Whether an id goes on with the word before it.
    var continues: @Sendable (Int) -> Bool
    /// The text of ids.
    var decode: @Sendable ([Int]) -> String
    /// The chance that a picture gets another's caption.
    var negatives: Double

    /// Ids to read and labels, `[texts, length]` each.
    func words(_ ids: [[Int]], by mask: WordMask, _ keys: [RandomKey]) -> (masked: Tensor, labels: Tensor) {
        let results = zip(ids, keys).map { mask($0, key: $1.derived("words"), continues: continues) }
        return (results.map(\.masked).table, results.map(\.labels).table)
    }

    /// The captions that pictures are shown with, and 1 where it is their own.
    ///
    /// - Parameters:
    ///   - places: of the pairs.
    ///   - captions: of all pairs.
    ///   - keys: of the samples.
    ///   - negatives: the chance of another one.
    func shown(
        _ places: [Int], _ captions: [[Int]], _ keys: [RandomKey], negatives: Double
    ) -> (ids: [[Int]], isOwn: [Int64]) {
        var (ids, isOwn) = (places.map { captions[$0] }, [Int64](repeating: 1, count: places.count))
        for (row, key) in keys.enumerated() {
            let chances = key.derived("negative")
            guard Double(chances.integer(below: 1 << 53, index: 0)) / Double(1 << 53) < negatives else { continue }
            // As often as it takes to find another one; where all captions are the same there is none.
            let other = (1...32).lazy.map { chances.integer(below: captions.count, index: $0) }
                .first { captions[$0] != captions[places[row]] }
            if let other { (ids[row], isOwn[row]) = (captions[other], 0) }
        }
        return (ids, isOwn)
    }

    /// Writes texts, the same with words hidden, and with the guesses in their places, as JSON.
    ///
    /// - Parameter guesses: of all hidden places, in order.
    func write(_ texts: [(ids: [Int], key: RandomKey)], _ guesses: [Int64], to path: String) throws -> String {
        var next = 0
        let lines = texts.map { text -> JSONValue in
            let (masked, labels) = self.texts(text.ids, key: text.key.derived("words"), continues: continues)
            var guessed = text.ids
            for place in labels.indices where labels[place] != self.texts.ignored && next < guesses.count {
                guessed[place] = Int(guesses[next])
                next += 1
            }
            // What hides a word shows as one, not as nothing.
            let hidden = masked.split(separator: self.texts.maskID, omittingEmptySubsequences: false)
            return [
                "text": .string(decode(text.ids)),
                "hidden": .string(hidden.map { decode(Array($0)) }.joined(separator: " _ ")),
                "guessed": .string(decode(guessed)),
            ]
        }
        try AtomicFile.write(JSONValue.array(lines).serialized(pretty: true), to: path)
        return path
    }
}

/// Pictures for FLAVA as rows of numbers: for the encoder, for the codebook, and which patches are hidden.
struct FLAVAPixels: Sendable {
    /// Sees the whole picture, as evaluation does.
    let whole: FLAVAImageTransform
    /// Sees a random part.
    let part: FLAVAImageTransform
    /// Whether half of the pictures are mirrored in training.
    let mirrors: Bool

    private var sizes: [Int] {
        let (grid, colours) = (whole.mask.grid, 3)
        return [
            colours * whole.encoderSize * whole.encoderSize, colours * whole.codebookSize * whole.codebookSize,
            grid.height * grid.width,
        ]
    }
    /// The numbers of a picture.
    var count: Int { sizes.reduce(0, +) }

    /// A picture `[height, width, 3]`, `uint8`, as a row.
    func row(_ picture: Tensor, isTraining: Bool, key: RandomKey) throws -> Tensor {
        let picture =
            isTraining ? RandomView(mirrors: mirrors)(picture.unsqueezed(0), key: key).selected(0, 0) : picture
        let output = try (isTraining ? part : whole)(picture, key: key)
        return concatenated([
            output.image.flattened(), output.imageForCodebook.flattened(),
            output.imagePatchesMask.cast(to: .float32).flattened(),
        ])
    }

    /// What rows hold, `[pictures, 3, side, side]` twice and `[pictures, patches]`.
    func parts(_ rows: Tensor) -> (image: Tensor, codebook: Tensor, mask: Tensor) {
        let (sizes, count) = (sizes, rows.shape[0])
        func part(_ from: Int, _ size: Int, _ shape: [Int]) -> Tensor {
            rows.sliced(1, from..<from + size).contiguous().reshaped(to: [count] + shape)
        }
        return (
            part(0, sizes[0], [3, whole.encoderSize, whole.encoderSize]),
            part(sizes[0], sizes[1], [3, whole.codebookSize, whole.codebookSize]),
            part(sizes[0] + sizes[1], sizes[2], [sizes[2]])
        )
    }
}

extension [[Int]] {
    /// `[rows, length]`, `int64`.
    var table: Tensor { Tensor(flatMap { $0.map { Int64($0) } }, shape: [count, first?.count ?? 0]) }
}
