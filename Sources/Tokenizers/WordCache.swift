import Foundation

/// Remembers the ids of words, so that a frequent word is cut once.
///
/// The one mutable part of a tokenizer. `@unchecked Sendable` because a lock guards the dictionary; the standard
/// library's mutex would ask for a newer macOS than the package does.
final class WordCache: @unchecked Sendable {
    /// Longer words are rare and would let one text fill the memory.
    static let longestWord = 64
    private static let capacity = 1 << 15

    private let lock = NSLock()
    private var idsOfWord: [ByteString: [Int]] = [:]

    /// The remembered ids of a word, or the computed ones.
    func ids(of word: ByteString, compute: () -> [Int]) -> [Int] {
        guard word.bytes.count <= Self.longestWord else { return compute() }
        if let known = lock.withLock({ idsOfWord[word] }) { return known }
        let ids = compute()
        lock.withLock {
            if idsOfWord.count >= Self.capacity { idsOfWord.removeAll(keepingCapacity: true) }
            idsOfWord[word] = ids
        }
        return ids
    }
}
