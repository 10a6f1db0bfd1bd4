import CKernels
import Foundation
import Testing

@Suite("Kernels: threads and random numbers")
struct KernelPoolTests {
    @Test("every task runs exactly once", arguments: [1, 2, 5] as [Int32], [0, 1, 2, 7, 1000])
    func everyTaskOnce(threads: Int32, count: Int) {
        withThreads(threads) {
            for _ in 0..<50 {
                var visits = [Int32](repeating: 0, count: count + 1)
                visits.withUnsafeMutableBufferPointer { buffer in
                    mm_parallel(
                        count,
                        { context, index in
                            context?.assumingMemoryBound(to: Int32.self)[index] += 1
                        }, buffer.baseAddress)
                }
                #expect(visits == Array(repeating: 1, count: count) + [0])
            }
        }
    }

    @Test("a task may start tasks of its own")
    func nested() {
        var visits = [Int32](repeating: 0, count: 64)
        visits.withUnsafeMutableBufferPointer { buffer in
            mm_parallel(
                8,
                { context, outer in
                    let row = context?.assumingMemoryBound(to: Int32.self).advanced(by: outer * 8)
                    mm_parallel(
                        8,
                        { context, inner in
                            context?.assumingMemoryBound(to: Int32.self)[inner] += 1
                        }, row)
                }, buffer.baseAddress)
        }
        #expect(visits.allSatisfy { $0 == 1 })
    }

    @Test("several threads may use the pool at once")
    func concurrentCallers() {
        let wrong = UnsafeMutablePointer<Int>.allocate(capacity: 6)
        wrong.initialize(repeating: 0, count: 6)
        defer { wrong.deallocate() }
        let address = UInt(bitPattern: wrong)
        DispatchQueue.concurrentPerform(iterations: 6) { caller in
            for _ in 0..<200 {
                var visits = [Int32](repeating: 0, count: 31)
                visits.withUnsafeMutableBufferPointer { buffer in
                    mm_parallel(
                        31,
                        { context, index in
                            context?.assumingMemoryBound(to: Int32.self)[index] += 1
                        }, buffer.baseAddress)
                }
                if visits.contains(where: { $0 != 1 }) {
                    UnsafeMutablePointer<Int>(bitPattern: address)?[caller] += 1
                }
            }
        }
        #expect((0..<6).allSatisfy { wrong[$0] == 0 })
    }

    @Test("an unknown or missing instruction set is refused")
    func unknownInstructionSet() {
        #expect(mm_set_isa_for_thread("mmx") == -1)
        #expect(availableInstructionSets.contains("baseline"))
        for name in availableInstructionSets {
            withInstructionSet(name) { #expect(String(cString: mm_isa_name()) == name) }
        }
    }

    // The known answers published with the generator: counter and key all zeros, all ones, digits of pi.
    @Test("Philox gives the published words")
    func philoxKnownAnswers() {
        var words = [UInt32](repeating: 0, count: 4)
        mm_philox_words(0, 0, 0, 4, &words)
        #expect(words == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        // Counters beyond 2^62 cannot be reached by an index: the block index is index / 4.
        mm_philox_words(0, 0, 1, 3, &words)
        #expect(Array(words[0..<3]) == [0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
    }

    @Test(
        "many words at once are those of one block after the other",
        arguments: [0, 3, (1 << 34) - 40, UInt64.max / 2] as [UInt64])
    func philoxAtOnce(first: UInt64) {
        let count = 200
        var together = [UInt32](repeating: 0, count: count), singly = together
        mm_philox_words(0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210, first, count, &together)
        for i in 0..<count {
            mm_philox_words(0x1234_5678_9abc_def0, 0xfedc_ba98_7654_3210, first + UInt64(i), 1, &singly[i])
        }
        #expect(together == singly)
    }

    @Test("a stream can be made in pieces, by any number of threads")
    func philoxPieces() {
        let count = 100_003
        var whole = [Float](repeating: 0, count: count), pieces = whole
        withThreads(5) { mm_philox_uniform_f32(7, 3, 11, count, &whole) }
        withThreads(1) {
            var start = 0
            for length in [1, 2, 3, 4, 5, 70_000, 29_988] {
                pieces.withUnsafeMutableBufferPointer { buffer in
                    mm_philox_uniform_f32(7, 3, 11 + UInt64(start), length, buffer.baseAddress.map { $0 + start })
                }
                start += length
            }
            #expect(start == count)
        }
        #expect(sameBits(whole, pieces))
        #expect(whole.allSatisfy { $0 > 0 && $0 < 1 })
        #expect(abs(whole.reduce(0, +) / Float(count) - 0.5) < 0.005)
    }
}
