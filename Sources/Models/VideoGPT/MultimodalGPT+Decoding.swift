// Decoding with a cache: any number of sequences, each at a place of its own, read any number of tokens in one pass.

import NeuralNets
import Tensors

/// The tokens that one sequence reads next.
public struct DecodingPiece: Sendable {
    /// The sequence's row of the cache.
    public var row: Int
    /// The input ids, where the sequence begins; the start vector comes before them.
    public var input: [Int]?
    /// Output ids.
    public var output: [Int]
    /// The place of the first of them in the output, from 0.
    public var position: Int
    /// How many of the piece's last tokens the scores of what follows are wanted of.
    public var scored: Int

    /// Creates a piece.
    public init(row: Int, input: [Int]? = nil, output: [Int], position: Int = 0, scored: Int = 1) {
        self.row = row
        self.input = input
        self.output = output
        self.position = position
        self.scored = scored
    }

    /// The number of tokens, the start vector included.
    public var count: Int { (input.map { 1 + $0.count } ?? 0) + output.count }
}

/// The caches of sequences that grow together.
public struct DecoderCache: Sendable {
    /// A row per sequence.
    public internal(set) var rows: KeyValueCache
    /// The number of ids of the first modality that were read; those of the second stand behind them.
    var inputLength = 0

    /// The number of positions filled.
    public var length: Int { rows.rowCount > 0 ? rows.length(of: 0) : 0 }
}

/// What decoding derives from the parameters once.
struct DecodingTables {
    /// The vectors of all output ids, `[output ids, width]`.
    let vectors: Tensor
    /// Those of all places in the output, `[places, width]`.
    let positions: Tensor
}

extension MultimodalGPT {
    /// An empty cache for sequences of this model.
    public func makeCache(rows: Int, type: CacheType = .float32) -> KeyValueCache {
        KeyValueCache(decoderConfiguration.cacheShape(type), rows: rows)
    }

    /// Caches for `batch` sequences with room for a whole input and output each.
    public func makeCache(batch: Int, inputLength: Int, type: CacheType = .float32) -> DecoderCache {
        var rows = makeCache(rows: batch, type: type)
        for row in 0..<batch { rows.start(row, room: inputLength + outputLength) }
        return DecoderCache(rows: rows)
    }

    /// Reads the next tokens of several sequences in one pass.
    ///
    /// A score has the same bits whatever else is read in the pass, and however a sequence is cut into pieces.
    ///
    /// - Parameters:
    ///   - pieces: at most one per row; the first piece of a row has the input.
    ///   - cache: everything before, with room.
    /// - Returns: the scores of the output ids after the scored tokens, `[scored tokens, output ids]`, piece by piece.
    public func read(_ pieces: [DecodingPiece], cache: inout KeyValueCache) -> Tensor {
        let tables = tables()
        let states = mmDecoder.decoder(
            vectors(of: pieces, tables), cache: &cache, pieces.map { CachePiece(row: $0.row, count: $0.count) })
        var wanted: [Int64] = []
        var end = 0
        for piece in pieces {
            end += piece.count
            wanted += (end - piece.scored..<end).map { Int64($0) }
        }
        let chosen = wanted.count == end ? states : states.rows(Tensor(wanted))
        // Scores of the output modality only: the other columns are never drawn from here.
        return norm(chosen).linear(head())
    }

    /// Reads the input and the start of the output of sequences that are equally long.
    ///
    /// - Parameters:
    ///   - input: `[batch, s]`, `int64`, `s` at most ``inputCapacity``.
    ///   - output: the first ids of the output, `[batch, t]`, if it is to be continued.
    ///   - cache: `batch` empty rows with room for all of it.
    /// - Returns: the scores of the next output id, `[batch, output ids]`.
    public func prefill(input: Tensor, output: Tensor? = nil, cache: inout DecoderCache) -> Tensor {
        let (inputs, outputs) = (rows(input), output.map(rows))
        cache.inputLength = input.shape[1]
        return read(
            inputs.indices.map { DecodingPiece(row: $0, input: inputs[$0], output: outputs?[$0] ?? []) },
            cache: &cache.rows)
    }

    /// Reads one more output id per sequence, at the place behind those that the cache holds.
    ///
    /// - Parameters:
    ///   - output: `[batch]`, `int64`.
    ///   - cache: everything before, from ``prefill(input:output:cache:)`` on.
    /// - Returns: the scores of the next output id, `[batch, output ids]`.
    public func step(output: Tensor, cache: inout DecoderCache) -> Tensor {
        let ids = output.scalars(Int64.self)
        // Before it stand the start vector, the input and the output so far.
        let position = cache.length - 1 - cache.inputLength
        return read(
            ids.indices.map { DecodingPiece(row: $0, output: [Int(ids[$0])], position: position) }, cache: &cache.rows)
    }

    /// Gives up everything but the VQVAE, whose turn comes when all ids are drawn; nothing can be read from then on.
    public func giveUpDecoder() { giveUpParameters(except: ["out_tokenizer."]) }

    // MARK: - Parts

    private func tables() -> DecodingTables {
        if let decodingTables { return decodingTables }
        let made = withoutGradients {
            let places = Tensor.range(outputLength).reshaped(to: [1, -1])
            return DecodingTables(
                vectors: embedded(Tensor.range(outputTokenCount), .output).detached,
                positions: mmDecoder.outPosEmb(places).detached.selected(0, 0).contiguous())
        }
        decodingTables = made
        return made
    }

    private func head() -> PackedWeights {
        if let outputHead { return outputHead }
        let made = PackedWeights(toLogit.rows().outputs(outputColumns))
        outputHead = made
        return made
    }

    /// The vectors of all tokens of a pass, `[tokens, width]`.
    private func vectors(of pieces: [DecodingPiece], _ tables: DecodingTables) -> Tensor {
        func outputs(_ pieces: ArraySlice<DecodingPiece>) -> Tensor {
            let ids = pieces.flatMap { $0.output.map { Int64($0) } }
            let places = pieces.flatMap { piece in piece.output.indices.map { Int64(piece.position + $0) } }
            return tables.vectors.rows(Tensor(ids)) + tables.positions.rows(Tensor(places))
        }
        guard pieces.contains(where: { $0.input != nil }) else { return outputs(pieces[...]) }
        var parts: [Tensor] = []
        for (index, piece) in pieces.enumerated() {
            if let input = piece.input {
                let places = Tensor.range(input.count).reshaped(to: [1, -1])
                parts.append(mmDecoder.rightShift.sos.detached.reshaped(to: [1, -1]))
                parts.append(
                    embedded(Tensor(input.map { Int64($0) }), .input) + mmDecoder.inPosEmb(places).selected(0, 0))
            }
            if !piece.output.isEmpty { parts.append(outputs(pieces[index...index])) }
        }
        return concatenated(parts)
    }

    /// The rows of a matrix of ids.
    private func rows(_ ids: Tensor) -> [[Int]] {
        let (values, width) = (ids.scalars(Int64.self).map { Int($0) }, ids.shape[1])
        return (0..<ids.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
    }
}
