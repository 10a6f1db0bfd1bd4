import JSON

extension LearnedTokenizer {
    /// RoBERTa's form: four special tokens with its ids, 256 bytes, merges, and the mask.
    ///
    /// Words are learned with the space before them, so `<pad>` is 1 and nothing but a name tells this from the published
    /// vocabulary.
    ///
    /// Source: Radford et al. 2019 (GPT-2); Liu et al. 2019, arXiv:1907.11692.
    static func byteBPE(
        _ captions: some Sequence<String>, _ vocabularySize: Int, _ minimumFrequency: Int
    ) throws -> (files: Files, count: Int) {
        func symbol(_ byte: UInt8) -> [UInt8] { Array(String(ByteAlphabet.scalarOfByte[Int(byte)]).utf8) }
        var counts: [ByteString: Int] = [:]
        for caption in captions {
            for word in ByteBPETokenizer.words(of: Array(caption.unicodeScalars)) {
                counts[ByteString(String(scalars: Array(word))), default: 0] += 1
            }
        }
        let last = Array("<mask>".utf8)
        var tokens = ["<s>", "<pad>", "</s>", "<unk>"].map { Array($0.utf8) }
        let specials = Set((tokens + [last]).map { ByteString($0) })
        tokens += ByteAlphabet.bytes.map(symbol)
        try require(vocabularySize, atLeast: tokens.count + 1, "the bytes and RoBERTa's special tokens")
        var learner = PairLearner(
            words: counts.map { ($0.bytes.map(symbol), $1) }, minimumFrequency: minimumFrequency, forbidden: specials)
        var lines = Array("#version: 0.2\n".utf8)
        var known = Set(tokens.map { ByteString($0) })
        while tokens.count + 1 < vocabularySize, let (left, right) = learner.joinBest() {
            lines += left + [32] + right + [10]
            if known.insert(ByteString(left + right)).inserted { tokens.append(left + right) }
        }
        tokens.append(last)
        let vocabulary = JSONObject(
            tokens.enumerated().map { (String(decoding: $0.element, as: UTF8.self), .integer($0.offset)) })
        let json = JSONValue.object(vocabulary).serialized(pretty: true)
        return ([("merges.txt", lines), ("vocab.json", Array(json.utf8))], tokens.count)
    }
}
