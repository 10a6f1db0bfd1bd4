import ArgumentParser

/// What is printed.
struct ConsoleOptions: ParsableArguments {
    @Flag(name: .long, help: "Print the result as one JSON document.")
    var json = false

    @Flag(name: [.long, .short], help: "Print no notes and no progress.")
    var quiet = false

    /// The console that follows the flags.
    var console: Console {
        // In a run with several processes the leader speaks for all.
        Console(isQuiet: quiet || Processes.isFollower, isJSON: json, isSilent: Processes.isFollower)
    }
}
