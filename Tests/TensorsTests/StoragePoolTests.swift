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
}
