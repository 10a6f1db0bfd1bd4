import Generation

/// Times a piece of work: once to warm up, then as often as asked.
struct Stopwatch {
    /// Measurements of each piece.
    var repetitions: Int
    /// The shortest measurement in seconds; what is over sooner is done several times in one.
    var shortest: Double
    /// Looked at before every measurement.
    var cancellation = CancellationFlag()

    /// The seconds that `body` takes, from each repetition.
    ///
    /// - Throws: `CancellationError` when cancelled, and what `body` throws.
    func measure(_ body: () throws -> Void) throws -> Spread {
        let warmUp = try Self.seconds(body)
        let times = warmUp > 0 ? Int(min(1e6, (shortest / warmUp).rounded(.up))) : 1
        var values: [Double] = []
        for _ in 0..<repetitions {
            try cancellation.check()
            let seconds = try Self.seconds { for _ in 0..<max(1, times) { try body() } }
            values.append(seconds / Double(max(1, times)))
        }
        return Spread(values)
    }

    /// The seconds that `body` takes.
    static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = ContinuousClock.now
        try body()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
