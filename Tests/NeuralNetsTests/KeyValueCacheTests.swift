import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct KeyValueCacheTests {
    private static let shape = CacheShape(layers: 2, heads: 3, headWidth: 4)

    private func tokens(_ count: Int, _ seed: UInt64, width: Int = 12) -> Tensor {
        Tensor.normal([count, width], key: RandomKey(seed: seed))
    }

    /// Reads tokens in all layers; the result of the last.
    @discardableResult
    private func read(_ cache: inout KeyValueCache, _ pieces: [CachePiece], _ x: Tensor) -> Tensor {
        var result = x
        for layer in 0..<cache.shape.layers {
            result = cache.attended(layer: layer, pieces, query: x * 0.5, key: x * 2, value: x + Double(layer))
        }
        cache.advance(pieces)
        return result
    }

    /// `[count, heads * width]` as `[heads, count, width]`.
    private func byHead(_ x: Tensor, _ shape: CacheShape = shape) -> Tensor {
        x.reshaped(to: [x.shape[0], shape.heads, shape.headWidth]).transposed(0, 1).contiguous()
    }

    @Test("rows grow on their own and hold what was appended, layer by layer")
    func appending() {
        var cache = KeyValueCache(Self.shape, rows: 3)
        cache.start(0, room: 7)
        cache.start(2, room: 4)
        #expect(cache.rowCount == 3 && cache.length(of: 0) == 0 && cache.capacity(of: 0) == 7)
        let (a, b) = (tokens(5, 1), tokens(2, 2))
        read(&cache, [CachePiece(row: 2, count: 1), CachePiece(row: 0, count: 4)], a)
        read(&cache, [CachePiece(row: 0, count: 2)], b)
        #expect((0..<3).map { cache.length(of: $0) } == [6, 0, 1])
        let expected = concatenated([a.sliced(0, 1..<5), b])
        for layer in 0..<2 {
            let (keys, values) = cache.contents(of: 0, layer: layer)
            #expect(differenceInBits(keys, byHead(expected * 2)) == nil)
            #expect(differenceInBits(values, byHead(expected + Double(layer))) == nil)
        }
        #expect(differenceInBits(cache.contents(of: 2, layer: 1).keys, byHead(a.sliced(0, 0..<1) * 2)) == nil)
    }

    @Test("positions are repeated up to a length, and a copy keeps its own", arguments: CacheType.allCases)
    func repeating(_ type: CacheType) {
        var shape = Self.shape
        shape.type = type
        var cache = KeyValueCache(shape, rows: 1)
        cache.start(0, room: 9)
        read(&cache, [CachePiece(row: 0, count: 3)], tokens(3, 1))
        let before = cache
        cache.repeatPositions(of: 0, to: 8)
        #expect(cache.length(of: 0) == 8 && before.length(of: 0) == 3)
        for layer in 0..<2 {
            let ((keys, values), (first, firstValues)) = (
                cache.contents(of: 0, layer: layer), before.contents(of: 0, layer: layer)
            )
            let wanted = [first, first, first.sliced(1, 0..<2)]
            #expect(differenceInBits(keys, concatenated(wanted, axis: 1)) == nil)
            let wantedValues = [firstValues, firstValues, firstValues.sliced(1, 0..<2)]
            #expect(differenceInBits(values, concatenated(wantedValues, axis: 1)) == nil)
        }
        // It grows as any other.
        read(&cache, [CachePiece(row: 0, count: 1)], tokens(1, 2))
        #expect(cache.length(of: 0) == 9)
    }

    @Test("a copy and its original go their own ways")
    func valueSemantics() {
        var first = KeyValueCache(Self.shape, rows: 1)
        first.start(0, room: 4)
        read(&first, [CachePiece(row: 0, count: 2)], tokens(2, 1))
        var second = first
        read(&first, [CachePiece(row: 0, count: 1)], tokens(1, 3))
        read(&second, [CachePiece(row: 0, count: 2)], tokens(2, 5))
        #expect(first.length(of: 0) == 3 && second.length(of: 0) == 4)
        let (one, two) = (first.contents(of: 0, layer: 0).keys, second.contents(of: 0, layer: 0).keys)
        #expect(differenceInBits(one, byHead(concatenated([tokens(2, 1), tokens(1, 3)]) * 2)) == nil)
        #expect(differenceInBits(two, byHead(concatenated([tokens(2, 1), tokens(2, 5)]) * 2)) == nil)
    }

    @Test("what is set back and read anew has the bits of what was never read wrongly", arguments: CacheType.allCases)
    func settingBack(_ type: CacheType) {
        var shape = Self.shape
        shape.type = type
        var (straight, detour) = (KeyValueCache(shape, rows: 1), KeyValueCache(shape, rows: 1))
        straight.start(0, room: 9)
        detour.start(0, room: 9)
        let address = detour.address(of: 0)
        read(&straight, [CachePiece(row: 0, count: 3)], tokens(3, 1))
        read(&detour, [CachePiece(row: 0, count: 7)], concatenated([tokens(3, 1), tokens(4, 8)]))
        detour.truncate(0, to: 3)
        let pieces = [CachePiece(row: 0, count: 2)]
        #expect(differenceInBits(read(&straight, pieces, tokens(2, 2)), read(&detour, pieces, tokens(2, 2))) == nil)
        #expect(detour.length(of: 0) == 5 && detour.address(of: 0) == address)
    }

    @Test("any cut into passes, any company and any sharing give the same bits", arguments: CacheType.allCases)
    func rowsAreAlone(_ type: CacheType) {
        for (heads, width, length) in [(1, 1, 5), (3, 12, 70), (2, 64, 137), (2, 20, 9)] {
            let shape = CacheShape(layers: 1, heads: heads, headWidth: width, type: type)
            let x = tokens(length, 7, width: heads * width)
            var whole = KeyValueCache(shape, rows: 1)
            whole.start(0, room: length)
            let expected = read(&whole, [CachePiece(row: 0, count: length)], x)
            for cut in [1, 2, length / 2, length - 1] {
                var prefix = KeyValueCache(shape, rows: 1)
                prefix.start(0, room: cut)
                read(&prefix, [CachePiece(row: 0, count: cut)], x.sliced(0, 0..<cut))
                var cache = KeyValueCache(shape, rows: 3)
                cache.start(0, after: prefix.prefix(of: 0), room: length - cut)
                cache.start(1, after: prefix.prefix(of: 0), room: length)
                cache.start(2, room: 11)
                var position = cut
                while position < length {
                    let count = min(length - position, position % 9 + 1)
                    let own = x.sliced(0, position..<position + count)
                    let mixed = concatenated([tokens(1, 99, width: heads * width), own, own])
                    let pieces = [
                        CachePiece(row: 2, count: 1), CachePiece(row: 0, count: count),
                        CachePiece(row: 1, count: count),
                    ]
                    if cache.length(of: 2) == 11 { cache.truncate(2, to: 0) }
                    let found = read(&cache, pieces, mixed)
                    let rows = expected.sliced(0, position..<position + count)
                    #expect(differenceInBits(found.sliced(0, 1..<1 + count), rows) == nil)
                    #expect(differenceInBits(found.sliced(0, 1 + count..<1 + 2 * count), rows) == nil)
                    position += count
                }
                #expect(cache.sharedLength(of: 0) == cut && cache.length(of: 0) == length)
            }
        }
    }

    @Test("narrow types come close", arguments: [(CacheType.float32, 1e-6), (.bfloat16, 0.02), (.int8, 0.03)])
    func precision(_ type: CacheType, _ tolerance: Double) {
        let shape = CacheShape(layers: 1, heads: 2, headWidth: 20, type: type)
        let x = tokens(80, 3, width: 40)
        var cache = KeyValueCache(shape, rows: 1)
        cache.start(0, room: 80)
        let found = read(&cache, [CachePiece(row: 0, count: 80)], x)
        func heads(_ x: Tensor) -> Tensor { byHead(x, shape).unsqueezed(0) }
        let exact = withoutGradients {
            scaledDotProductAttention(heads(x * 0.5), heads(x * 2), heads(x), mask: .causal)
        }
        let expected = exact.selected(0, 0).transposed(0, 1).contiguous().reshaped(to: [80, 40])
        let differences = zip(found.scalars(Float.self), expected.scalars(Float.self)).map { abs($0 - $1) }
        #expect(Double(differences.max() ?? .infinity) < 3 * tolerance)
        if type == .float32 { #expect(differenceInBits(found, expected) == nil) }
    }

    @Test("bytes hold a vector within half a step of its largest number, and zeros")
    func bytes() {
        let shape = CacheShape(layers: 1, heads: 1, headWidth: 4, type: .int8)
        var cache = KeyValueCache(shape, rows: 1)
        cache.start(0, room: 3)
        let x = Tensor([127, -1, 63.4, 0, 0, 0, 0, 0, -2, 1, 0.004, 2] as [Float], shape: [3, 4])
        _ = cache.attended(layer: 0, [CachePiece(row: 0, count: 3)], query: x, key: x, value: x)
        cache.advance([CachePiece(row: 0, count: 3)])
        let found = cache.contents(of: 0, layer: 0).keys.scalars(Float.self)
        let expected: [Float] = [127, -1, 63, 0, 0, 0, 0, 0, -2, 64 * 2 / 127, 0, 2]
        #expect(zip(found, expected).allSatisfy { abs($0 - $1) < 1e-5 }, "\(found)")
    }

    @Test("numbers that are none stay visible in every type", arguments: CacheType.allCases, [Float.nan, .infinity])
    func broken(_ type: CacheType, _ number: Float) {
        let shape = CacheShape(layers: 1, heads: 1, headWidth: 4, type: type)
        var cache = KeyValueCache(shape, rows: 1)
        cache.start(0, room: 2)
        let good = Tensor([1, 2, 3, 4] as [Float], shape: [1, 4])
        let bad = Tensor([1, number, 3, 4] as [Float], shape: [1, 4])
        let found = cache.attended(layer: 0, [CachePiece(row: 0, count: 1)], query: good, key: good, value: bad)
        #expect(found.scalars(Float.self).contains { !$0.isFinite })
    }

    @Test("decoding over the cache gives the full causal pass", arguments: [[5], [1, 1, 1, 1, 1], [3, 2], [1, 4]])
    func decoding(_ lengths: [Int]) throws {
        let layer = MultiHeadAttention(queryWidth: 12, heads: 3, random: RandomKey(seed: 5))
        let x = Tensor.normal([2, 5, 12], key: RandomKey(seed: 6))
        let full = withoutGradients { layer(x, options: AttentionOptions(mask: .causal), .inference).output }
        var cache = KeyValueCache(CacheShape(layers: 1, heads: 3, headWidth: 4), rows: 2)
        for row in 0..<2 { cache.start(row, room: 5) }
        var parts: [Tensor] = []
        var position = 0
        for length in lengths {
            let part = x.sliced(1, position..<(position + length)).contiguous().reshaped(to: [2 * length, 12])
            let pieces = (0..<2).map { CachePiece(row: $0, count: length) }
            parts.append(
                withoutGradients { layer(part, cache: &cache, layer: 0, pieces) }.reshaped(to: [2, length, 12]))
            cache.advance(pieces)
            position += length
        }
        // Bit for bit: rows do not depend on what they are computed with.
        #expect(differenceInBits(concatenated(parts, axis: 1), full) == nil)
    }

    @Test("appending past the room traps with the numbers")
    func overflow() async {
        await #expect(processExitsWith: .failure) {
            var cache = KeyValueCache(CacheShape(layers: 1, heads: 1, headWidth: 1), rows: 1)
            cache.start(0, room: 2)
            let x = Tensor.zeros([3, 1])
            _ = cache.attended(layer: 0, [CachePiece(row: 0, count: 3)], query: x, key: x, value: x)
        }
    }
}
