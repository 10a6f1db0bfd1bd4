import Testing

@testable import Benchmarking

@Suite struct SpreadTests {
    @Test(
        "the median is the middle value, or lies half way between the two in the middle",
        arguments: [
            ([3], 3), ([4, 1], 2.5), ([9, 1, 2], 2), ([5, 4, 100, 1], 4.5), ([2, 2, 2, 2, 7], 2),
        ] as [([Double], Double)])
    func median(_ values: [Double], _ expected: Double) {
        let spread = Spread(values)
        #expect(spread.median == expected)
        #expect(spread.least == values.min())
        #expect(spread.most == values.max())
        #expect(spread.values == values)
    }

    @Test("a stopwatch measures as often as asked, and repeats what is over soon within a measurement")
    func stopwatch() throws {
        var calls = 0
        let spread = try Stopwatch(repetitions: 3, shortest: 0).measure { calls += 1 }
        #expect(spread.values.count == 3)
        #expect(calls == 4)
        calls = 0
        _ = try Stopwatch(repetitions: 2, shortest: 0.001).measure { calls += 1 }
        #expect(calls > 10)
    }

    @Test("a cancelled stopwatch stops")
    func cancellation() {
        let watch = Stopwatch(repetitions: 1000, shortest: 0)
        var calls = 0
        #expect(throws: CancellationError.self) {
            try watch.measure {
                calls += 1
                if calls == 2 { watch.cancellation.set() }
            }
        }
        #expect(calls == 2)
    }
}
