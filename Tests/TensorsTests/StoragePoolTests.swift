import CKernels
import Foundation
import Testing

@testable import Tensors

@Suite struct StoragePoolTests {
    @Test("a size class holds its size, wastes at most an eighth, and is its own class")
    func sizeClasses() {
        var sizes = Array(0...5000)
        for power in 13...40 {
            let size = 1 << power
            sizes += [size - 1, size, size + 1, 3 * size + 7]
        }
        for size in sizes {
            let found = StoragePool.sizeClass(size)
            #expect(found >= size && found >= 64 && found % 64 == 0)
            #expect(found <= max(64, size + max(63, size / 8)))
            #expect(StoragePool.sizeClass(found) == found)
        }
    }

    @Test("a block that was given back is taken again, and trimming forgets it")
    func reuse() {
        let pool = StoragePool()
        let first = pool.take(byteCount: 5000)
        #expect(UInt(bitPattern: first) % 64 == 0)
        pool.give(first, byteCount: 5000)
        let second = pool.take(byteCount: StoragePool.sizeClass(5000))
        #expect(first == second)
        let third = pool.take(byteCount: 5000)
        #expect(third != second)
        pool.give(second, byteCount: 5000)
        pool.give(third, byteCount: 5000)
        pool.trim()
        pool.trim()
        pool.give(pool.take(byteCount: 0), byteCount: 0)
        pool.trim()
    }

    @Test("no more than the limit is handed out, and cached blocks make way")
    func limit() throws {
        let pool = StoragePool(limit: 1_048_576)
        let first = try #require(pool.reserve(byteCount: 700 << 10))
        #expect(pool.usedBytes >= 700 << 10)
        #expect(pool.reserve(byteCount: 700 << 10) == nil)
        #expect(pool.reserve(byteCount: 1 << 50) == nil)
        let small = try #require(pool.reserve(byteCount: 100 << 10))
        pool.give(small, byteCount: 100 << 10)
        pool.give(first, byteCount: 700 << 10)
        #expect(pool.usedBytes == 0)
        // The 800 KiB that were given back are kept for reuse, but do not stand in the way of another size.
        let other = try #require(pool.reserve(byteCount: 900 << 10))
        pool.give(other, byteCount: 900 << 10)
        pool.trim()
    }

    @Test("memory beyond any limit ends the process with a sentence")
    func exhaustion() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            MachineMemory.whenExhausted { sentence in
                FileHandle.standardError.write(Data(sentence.utf8))
                exit(3)
            }
            _ = Tensor.zeros([1 << 30, 1 << 20])
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.hasPrefix("There is not enough memory: a tensor of 4503599.6 GB was wanted beside "), "\(text)")
        #expect(result?.exitStatus == .exitCode(3))
    }

    @Test("a kernel without room for its scratch space ends the process in the same way")
    func kernels() async {
        let result = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            MachineMemory.whenExhausted { sentence in
                FileHandle.standardError.write(Data(sentence.utf8))
                exit(3)
            }
            // A row of scores for more keys than any machine holds; the room for it is asked for first.
            var shape = mm_attention()
            (shape.batch, shape.heads, shape.queries, shape.keys) = (1, 1, 1, 1 << 50)
            (shape.key_dim, shape.value_dim) = (1, 1)
            let (some, result) = ([1.0], UnsafeMutablePointer<Double>.allocate(capacity: 1))
            mm_attention_forward_f64(&shape, some, some, some, result, nil)
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        let sentence = "There is not enough memory: scratch space of 9007199.3 GB was wanted beside "
        #expect(text.hasPrefix(sentence), "\(text)")
        #expect(result?.exitStatus == .exitCode(3))
    }
}
