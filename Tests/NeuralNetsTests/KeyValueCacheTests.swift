import NeuralNets
import Tensors
import TestSupport
import Testing

@Suite struct KeyValueCacheTests {
    private func piece(_ length: Int, _ seed: UInt64, batch: Int = 2) -> Tensor {
        Tensor.normal([batch, 3, length, 4], key: RandomKey(seed: seed))
    }

    @Test("appended positions come out in order")
    func appending() {
        var cache = KeyValueCache(batch: 2, heads: 3, capacity: 7, headWidth: 4)
        #expect(cache.length == 0 && cache.capacity == 7 && cache.filledKeys.shape == [2, 3, 0, 4])
        cache.append(piece(4, 1), piece(4, 2))
        cache.append(piece(1, 3), piece(1, 4))
        cache.append(piece(2, 5), piece(2, 6))
        #expect(cache.length == 7)
        #expect(
            differenceInBits(cache.filledKeys, concatenated([piece(4, 1), piece(1, 3), piece(2, 5)], axis: 2)) == nil)
        #expect(
            differenceInBits(cache.filledValues, concatenated([piece(4, 2), piece(1, 4), piece(2, 6)], axis: 2)) == nil)
    }

    @Test("a copy and its original go their own ways")
    func valueSemantics() {
        var first = KeyValueCache(batch: 2, heads: 3, capacity: 4, headWidth: 4)
        first.append(piece(2, 1), piece(2, 2))
        let view = first.filledKeys
        var second = first
        first.append(piece(1, 3), piece(1, 4))
        second.append(piece(2, 5), piece(2, 6))
        #expect(first.length == 3 && second.length == 4)
        #expect(differenceInBits(first.filledKeys, concatenated([piece(2, 1), piece(1, 3)], axis: 2)) == nil)
        #expect(differenceInBits(second.filledKeys, concatenated([piece(2, 1), piece(2, 5)], axis: 2)) == nil)
        #expect(differenceInBits(view, piece(2, 1)) == nil)
    }

    @Test("sequences continue what others had seen, without a copy of it and with room of their own")
    func continuing() {
        var cache = KeyValueCache(batch: 2, heads: 3, capacity: 4, headWidth: 4)
        cache.append(piece(2, 1), piece(2, 2))
        var next = cache.continuing(rows: [1, 0, 1], capacity: 6)
        #expect(next.batch == 3 && next.length == 2 && next.sharedLength == 2 && next.capacity == 6)
        let rows = [1, 0, 1].map { piece(2, 1).sliced(0, $0..<($0 + 1)) }
        #expect(differenceInBits(next.filledKeys, concatenated(rows)) == nil)
        next.append(piece(4, 3, batch: 3), piece(4, 4, batch: 3))
        #expect(next.length == 6)
        #expect(cache.length == 2 && differenceInBits(cache.filledValues, piece(2, 2)) == nil)
        let empty = KeyValueCache(batch: 1, heads: 3, capacity: 4, headWidth: 4).continuing(rows: [0, 0], capacity: 4)
        #expect(empty.length == 0 && empty.batch == 2)
    }

    @Test("attention over a shared prefix has the bits of attention over a copy", arguments: [1, 3, 11])
    func sharedAttention(_ new: Int) {
        for (length, width) in [(1, 4), (70, 12), (9, 64), (130, 20)] {
            func piece(_ batch: Int, _ length: Int, _ seed: UInt64) -> Tensor {
                Tensor.normal([batch, 3, length, width], key: RandomKey(seed: seed))
            }
            var prompts = KeyValueCache(batch: 2, heads: 3, capacity: length, headWidth: width)
            prompts.append(piece(2, length, 1), piece(2, length, 2))
            var shared = prompts.continuing(rows: [1, 0, 0, 1], capacity: length + 2 * new)
            var copied = KeyValueCache(batch: 4, heads: 3, capacity: length + 2 * new, headWidth: width)
            copied.append(shared.filledKeys, shared.filledValues)
            for step in 0..<2 {
                let (keys, values) = (piece(4, new, UInt64(3 + step)), piece(4, new, UInt64(5 + step)))
                shared.append(keys, values)
                copied.append(keys, values)
                let query = piece(4, new, UInt64(7 + step))
                #expect(differenceInBits(shared.attended(by: query), copied.attended(by: query)) == nil)
            }
        }
    }

    @Test("decoding over the cache gives the full causal pass", arguments: [[5], [1, 1, 1, 1, 1], [3, 2], [1, 4]])
    func decoding(_ pieces: [Int]) throws {
        let layer = MultiHeadAttention(queryWidth: 12, heads: 3, random: RandomKey(seed: 5))
        let x = Tensor.normal([2, 5, 12], key: RandomKey(seed: 6))
        let full = withoutGradients { layer(x, options: AttentionOptions(mask: .causal), .inference).output }
        var cache = KeyValueCache(batch: 2, heads: 3, capacity: 5, headWidth: 4)
        var parts: [Tensor] = []
        var position = 0
        for length in pieces {
            let part = x.sliced(1, position..<(position + length))
            parts.append(withoutGradients { layer(part, cache: &cache) })
            position += length
        }
        // Bit for bit: rows do not depend on what they are computed with.
        #expect(differenceInBits(concatenated(parts, axis: 1), full) == nil)
    }

    @Test("appending past the capacity traps with the numbers")
    func overflow() async {
        await #expect(processExitsWith: .failure) {
            var cache = KeyValueCache(batch: 1, heads: 1, capacity: 2, headWidth: 1)
            cache.append(Tensor.zeros([1, 1, 3, 1]), Tensor.zeros([1, 1, 3, 1]))
        }
    }
}
