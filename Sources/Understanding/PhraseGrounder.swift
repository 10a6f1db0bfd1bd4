import Checkpoints
import Models
import NeuralNets
import Tensors
import Tokenizers
import Transforms

/// Finds what the phrases of a caption speak of in a picture, with an MDETR from a model directory.
public final class PhraseGrounder {
    /// A box and what it belongs to.
    public struct Finding: Sendable, Hashable {
        /// The words, as they stand in the caption.
        public let phrase: String
        /// Where it is, in pixels of the picture.
        public let box: BoxCorners
        /// How probable it is that the box belongs to one of the phrase's tokens, 0...1.
        public let score: Double
    }

    /// How probable an object must be where no phrase is named.
    public static let leastConfidence = 0.7

    private let model: MDETR
    private let image: ImagePreparation
    private let text: RoBERTaTextTransform

    /// Reads a model directory.
    ///
    /// - Throws: as ``PretrainedModel/init(contentsOf:weights:cache:)``; ``UnderstandingError`` for a model that grounds
    ///   nothing, or whose preparation or tokenizer is missing.
    public init(contentsOf path: String) throws {
        let pretrained = try PretrainedModel(contentsOf: path)
        let found =
            (pretrained.module as? MDETRForPhraseGrounding)?.model ?? (pretrained.module as? MDETRForVQA)?.model
            ?? pretrained.module as? MDETR
        guard let found else {
            throw UnderstandingError(
                "\(path) holds the model \(pretrained.name), which finds nothing in pictures; an MDETR does.")
        }
        guard let fields = try pretrained.extra.optionalFields("preprocessing"),
            let image = try Preprocessing(fields).image
        else {
            throw UnderstandingError("The config.json of \(path) lacks 'preprocessing.image'.")
        }
        guard let tokenizer = pretrained.tokenizer as? ByteBPETokenizer else {
            throw UnderstandingError(
                "\(path) needs RoBERTa's tokenizer (vocab.json and merges.txt), whose tokens know their characters; found: "
                    + "\(pretrained.tokenizer?.name ?? "none").")
        }
        guard tokenizer.padID == Int(PaddedText.paddingID) else {
            throw UnderstandingError(
                "The tokenizer of \(path) has the <pad> \(tokenizer.padID), and an MDETR takes \(PaddedText.paddingID) for "
                    + "padding.")
        }
        guard tokenizer.vocabularySize <= found.configuration.text.embeddings.vocabulary else {
            throw UnderstandingError(
                "The tokenizer of \(path) has \(tokenizer.vocabularySize) ids where the model reads "
                    + "\(found.configuration.text.embeddings.vocabulary).")
        }
        let longest = found.configuration.text.embeddings.positions - 2
        (model, self.image) = (found, image)
        text = try RoBERTaTextTransform(tokenizer: tokenizer, maximumLength: min(longest, found.configuration.classes))
        pretrained.module.packForInference()
    }

    /// Says whether a caption is longer than what the model reads; `nil` where it is not.
    public func noteOnLength(of caption: String) -> String? { text.noteOnLength(of: [caption]) }

    /// The most probable boxes of each phrase, the best first.
    ///
    /// - Parameters:
    ///   - picture: `[height, width, 3]`, `uint8`.
    ///   - caption: a sentence about the picture.
    ///   - phrases: words that stand in the caption.
    ///   - count: how many boxes are wanted at most, for each phrase.
    /// - Throws: ``UnderstandingError`` for a phrase that does not stand in the caption, or too far behind.
    public func boxes(
        in picture: Tensor, caption: String, phrases: [String], count: Int = 1
    ) throws -> [[Finding]] {
        let (output, tokens) = try looked(at: picture, caption: caption)
        let spans = TokenSpans(tokens)
        let chosen = try phrases.map { phrase -> [Int] in
            guard let place = Self.place(of: phrase, in: caption) else {
                throw UnderstandingError("The phrase '\(phrase)' does not stand in the caption '\(caption)'.")
            }
            guard let range = spans.tokens(of: place) else {
                throw UnderstandingError("The phrase '\(phrase)' stands behind what the model reads of the caption.")
            }
            return Array(range)
        }
        let size = (height: Double(picture.shape[0]), width: Double(picture.shape[1]))
        let found = PhraseBoxes.found(
            logits: output.logits, boxes: output.boxes, sizes: [size], phrases: [chosen])[0]
        return zip(phrases, found).map { phrase, boxes in
            let corners = boxes.boxes.scalars(Float.self)
            return (0..<min(count, boxes.scores.count)).map { row in
                Finding(
                    phrase: phrase, box: Self.box(corners, row, in: size), score: Double(boxes.scores[row]))
            }
        }
    }

    /// Every object that the model is sure of, with the words of the caption that it belongs to, the surest first.
    ///
    /// - Parameters:
    ///   - picture: `[height, width, 3]`, `uint8`.
    ///   - caption: a sentence about the picture.
    ///   - confidence: how probable an object must be, 0...1.
    public func objects(
        in picture: Tensor, caption: String, confidence: Double = leastConfidence
    ) throws -> [Finding] {
        let (output, tokens) = try looked(at: picture, caption: caption)
        let shares = output.logits.softmax()
        let classes = shares.shape[2]
        let size = (height: Double(picture.shape[0]), width: Double(picture.shape[1]))
        let scalars = Array(caption.unicodeScalars)
        let corners = Boxes.corners(output.boxes).scalars(Float.self).enumerated().map {
            $1 * Float($0 % 2 == 0 ? size.width : size.height)
        }
        return shares.selected(0, 0).scalars(Float.self).chunked(classes).enumerated().compactMap { query, row in
            let sure = 1 - Double(row[row.endIndex - 1])
            guard sure >= confidence else { return nil }
            let own = Array(row.prefix(tokens.count))
            // The words that have a good part of the best token's share, as they stand in the caption.
            guard let best = own.max(), best > 0 else { return nil }
            let words = tokens.indices.filter { own[$0] >= best / 4 && !tokens[$0].isEmpty }.map { tokens[$0] }
            guard let first = words.first, let last = words.last else { return nil }
            var phrase = String.UnicodeScalarView()
            phrase.append(contentsOf: scalars[first.lowerBound..<last.upperBound])
            return Finding(
                phrase: String(phrase).trimmingSpaces, box: Self.box(corners, query, in: size), score: sure)
        }.sorted { $0.score > $1.score }
    }

    /// What the model says, and the characters of each token.
    private func looked(at picture: Tensor, caption: String) throws -> (MDETR.Output, [Range<Int>]) {
        guard caption.contains(where: { !$0.isWhitespace }) else {
            throw UnderstandingError("The caption is empty; say in a sentence what is to be found.")
        }
        let read = try text([caption])
        let output = try withoutGradients {
            model(images: [try image(picture)], text: PaddedText([read.ids.scalars(Int64.self)]), .inference)
        }
        return (output, read.offsets[0].map { $0 ?? 0..<0 })
    }

    /// Where a phrase first stands in a caption, in Unicode scalars, capitals or not.
    static func place(of phrase: String, in caption: String) -> Range<Int>? {
        let (whole, part) = (Array(caption.lowercased().unicodeScalars), Array(phrase.lowercased().unicodeScalars))
        guard !part.isEmpty, part.count <= whole.count else { return nil }
        return (0...whole.count - part.count).first { Array(whole[$0..<$0 + part.count]) == part }
            .map { $0..<$0 + part.count }
    }

    /// A row of corners in pixels, kept inside the picture.
    private static func box(
        _ corners: [Float], _ row: Int, in size: (height: Double, width: Double)
    ) -> BoxCorners {
        func inside(_ place: Int, _ most: Double) -> Float { min(max(corners[row * 4 + place], 0), Float(most)) }
        return BoxCorners(
            left: inside(0, size.width), top: inside(1, size.height), right: inside(2, size.width),
            bottom: inside(3, size.height))
    }
}

extension Array {
    /// Runs of equal length.
    fileprivate func chunked(_ length: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: length).map { self[$0..<$0 + length] }
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
