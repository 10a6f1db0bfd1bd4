/// Reads a list such as `1,4,16`: values between commas, each once.
///
/// - Parameters:
///   - text: as a person wrote it.
///   - name: what is listed, for messages.
///   - allowed: what a value may be, for messages.
///   - convert: a value of a word; `nil` for a word that is none.
/// - Returns: the values in the order they are written.
/// - Throws: ``BenchmarkError`` with code `.invalidSetting` for an empty list, a word that is no value, or one that is
///   there twice.
public func listed<Value: Hashable>(
    _ text: String, _ name: String, allowed: String, _ convert: (Substring) -> Value?
) throws -> [Value] {
    var values: [Value] = []
    for word in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let value = convert(word) else {
            throw BenchmarkError(
                .invalidSetting,
                word.isEmpty
                    ? "\(name) has a gap in '\(text.prefix(60))'; it is a list of \(allowed), with commas between."
                    : "\(name) takes \(allowed), with commas between, not '\(word.prefix(60))'.")
        }
        guard !values.contains(value) else {
            throw BenchmarkError(.invalidSetting, "\(name) has '\(word)' twice.")
        }
        values.append(value)
    }
    return values
}
