import Tensors

/// Matches what a file holds against what a model needs, strictly.
public struct StateDictMatcher: Sendable {
    /// A parameter or buffer that the model needs.
    public struct Entry: Sendable, Hashable {
        /// The key in the state dict.
        public let key: String
        /// The size of each axis.
        public let shape: [Int]
        /// The element type, or `nil` when any floating-point type will do.
        public let dtype: DType?

        /// Creates an entry.
        public init(_ key: String, shape: [Int], dtype: DType? = nil) {
            self.key = key
            self.shape = shape
            self.dtype = dtype
        }
    }

    /// One replacement in found keys.
    public enum Rename: Sendable, Hashable {
        /// Replaces a beginning: `("module.", "")`.
        case prefix(String, String)
        /// Replaces an ending: `(".gamma", ".weight")`.
        case suffix(String, String)
        /// Replaces whole components between dots, wherever they stand: `("self_attn", "attention")`.
        case component(String, String)
        /// Replaces a whole key.
        case key(String, String)
        /// Replaces by a pattern in which each `*` stands for one component: `("h.*.attn.w", "layers.*.attention.w")`.
        case pattern(String, String)

        /// The key after this replacement; the same key where it does not apply.
        public func applied(to key: String) -> String {
            switch self {
            case .prefix(let old, let new): return key.hasPrefix(old) ? new + key.dropFirst(old.count) : key
            case .suffix(let old, let new): return key.hasSuffix(old) ? key.dropLast(old.count) + new : key
            case .key(let old, let new): return key == old ? new : key
            case .component(let old, let new):
                let components = key.split(separator: ".", omittingEmptySubsequences: false)
                return components.map { $0 == old ? new : String($0) }.joined(separator: ".")
            case .pattern(let old, let new): return Self.apply(old, new, to: key)
            }
        }

        private static func apply(_ old: String, _ new: String, to key: String) -> String {
            let parts = key.split(separator: ".", omittingEmptySubsequences: false)
            let pattern = old.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == pattern.count, zip(parts, pattern).allSatisfy({ $1 == "*" || $0 == $1 }) else {
                return key
            }
            var wild = zip(parts, pattern).filter { $1 == "*" }.map(\.0)[...]
            let result = new.split(separator: ".", omittingEmptySubsequences: false).map { component in
                component == "*" ? wild.popFirst() ?? component : component
            }
            return result.joined(separator: ".")
        }
    }

    /// Replacements, applied in order to every found key.
    public var renames: [Rename]
    /// Beginnings of keys that the file may lack; `[""]` allows any.
    public var allowedMissing: [String]
    /// Beginnings of keys that the file may have in addition; `[""]` allows any.
    public var allowedUnexpected: [String]

    /// Creates a matcher; without arguments nothing is renamed and nothing may differ.
    public init(renames: [Rename] = [], allowedMissing: [String] = [], allowedUnexpected: [String] = []) {
        self.renames = renames
        self.allowedMissing = allowedMissing
        self.allowedUnexpected = allowedUnexpected
    }

    /// What was matched.
    public struct Match: Sendable {
        /// The tensors under the model's keys.
        public var tensors: [String: Tensor]
        /// Keys of the model that the file lacks, all of them allowed; sorted.
        public var missing: [String]
        /// Keys of the file that the model does not have, all of them allowed; sorted.
        public var unexpected: [String]
    }

    /// How many keys of each kind a message lists.
    private static let listedCount = 20

    /// Matches `found` against `expected`.
    ///
    /// - Parameters:
    ///   - expected: what the model needs; keys are distinct.
    ///   - found: what the file holds.
    ///   - source: what the message calls the file.
    /// - Throws: ``CheckpointError`` with code `.stateDictMismatch`, one error that lists every key that is missing,
    ///   unexpected or of another shape or element type.
    public func match(
        _ expected: [Entry], with found: [String: Tensor], source: String = "the checkpoint"
    ) throws -> Match {
        var renamed: [String: Tensor] = [:]
        var clashes: [String] = []
        for (key, tensor) in found.sorted(by: { $0.key < $1.key }) {
            let name = renames.reduce(key) { $1.applied(to: $0) }
            if renamed.updateValue(tensor, forKey: name) != nil { clashes.append("\(name) (from \(key))") }
        }
        var match = Match(tensors: [:], missing: [], unexpected: [])
        var missing: [String] = []
        var mismatched: [String] = []
        for entry in expected {
            guard let tensor = renamed.removeValue(forKey: entry.key) else {
                if Self.isAllowed(entry.key, allowedMissing) {
                    match.missing.append(entry.key)
                } else {
                    missing.append("\(entry.key) \(entry.shape)")
                }
                continue
            }
            if tensor.shape != entry.shape {
                mismatched.append("\(entry.key): the model has \(entry.shape), the file \(tensor.shape)")
            } else if !Self.fits(tensor.dtype, entry.dtype) {
                let wanted = entry.dtype?.rawValue ?? "a floating-point type"
                mismatched.append("\(entry.key): the model has \(wanted), the file \(tensor.dtype.rawValue)")
            } else {
                match.tensors[entry.key] = tensor
            }
        }
        var unexpected: [String] = []
        for (key, tensor) in renamed.sorted(by: { $0.key < $1.key }) {
            if Self.isAllowed(key, allowedUnexpected) {
                match.unexpected.append(key)
            } else {
                unexpected.append("\(key) \(tensor.shape)")
            }
        }
        match.missing.sort()
        let problems = [
            Self.list("missing", missing.sorted()), Self.list("unexpected", unexpected),
            Self.list("of another shape or type", mismatched), Self.list("named twice after renaming", clashes),
        ].compactMap { $0 }
        guard problems.isEmpty else {
            throw CheckpointError(
                .stateDictMismatch,
                "The weights of \(source) do not fit the model.\n" + problems.joined(separator: "\n"))
        }
        return match
    }

    /// A stored floating-point type may stand for another; integers must not become floats or the other way round.
    private static func fits(_ found: DType, _ wanted: DType?) -> Bool {
        guard let wanted else { return found.isFloatingPoint }
        return found == wanted || (found.isFloatingPoint && wanted.isFloatingPoint)
            || ([.int64, .int32].contains(found) && [.int64, .int32].contains(wanted))
    }

    private static func isAllowed(_ key: String, _ prefixes: [String]) -> Bool {
        prefixes.contains { key.hasPrefix($0) }
    }

    private static func list(_ what: String, _ lines: [String]) -> String? {
        guard !lines.isEmpty else { return nil }
        let keys = lines.count == 1 ? "key is" : "keys are"
        var text = "\(lines.count) \(keys) \(what):"
        for line in lines.prefix(listedCount) { text += "\n  \(line)" }
        if lines.count > listedCount { text += "\n  ... and \(lines.count - listedCount) more" }
        return text
    }
}
