import JSON
import Tensors

/// Finds the state dict inside what a pickle holds; of a module that was pickled whole, what would be its state dict.
///
/// With ``ReadOptions/stateDictKey``, that member. Without it: the root when tensors stand directly in it; else the
/// first of `state_dict`, `model_state_dict`, `model`, `module`, `net`, `weights`, `params`, `model_ema`, `ema` that is
/// a dict with tensors; else the only member that is a dict with tensors.
struct StateDictSelector {
    let path: String
    let options: ReadOptions

    private static let usualKeys = [
        "state_dict", "model_state_dict", "model", "module", "net", "weights", "params", "model_ema", "ema",
    ]

    /// The tensors of the chosen dict as a checkpoint; everything else is kept in `content` and listed as skipped.
    func checkpoint(_ root: PickleValue, format: Checkpoint.Format) throws -> Checkpoint {
        let (selected, place) = try select(root.stateOfModule ?? root)
        let chosen = selected.stateOfModule ?? selected
        var collector = Collector(path: path)
        switch chosen {
        case .tensor(let tensor): collector.tensors.append(("tensor", tensor))
        default: try collector.collect(chosen, name: "")
        }
        collector.listSkipped(root, besides: place)
        var named: [(String, Tensor)] = []
        var seen: Set<String> = []
        for (name, tensor) in collector.tensors {
            guard let name = stripped(name) else {
                collector.skipped.append("'\(name)' lacks the prefix '\(options.strippedPrefix ?? "")'")
                continue
            }
            guard seen.insert(name).inserted else {
                throw CheckpointError(.malformed, "\(path): two tensors have the name \(quoted(name)).")
            }
            named.append((name, tensor))
        }
        guard !named.isEmpty else {
            if let prefix = options.strippedPrefix, !collector.tensors.isEmpty {
                throw CheckpointError(
                    .invalidConfiguration, "\(path): no tensor's name begins with \(quoted(prefix)).")
            }
            throw CheckpointError(.unknownFormat, "\(path) holds no tensors.")
        }
        return Checkpoint(named, format: format, skipped: collector.skipped, content: root)
    }

    private func stripped(_ name: String) -> String? {
        guard let prefix = options.strippedPrefix, !prefix.isEmpty else { return name }
        return name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil
    }

    private func select(_ root: PickleValue) throws -> (PickleValue, place: [String]) {
        if let key = options.stateDictKey {
            var value = root
            // A key that holds dots itself comes first.
            let components = root[key] == nil ? key.split(separator: ".").map(String.init) : [key]
            for component in components {
                guard let next = value[component] else {
                    throw CheckpointError(
                        .invalidConfiguration,
                        "\(path) has no member \(quoted(key)); \(Self.describeMembers(root)).")
                }
                value = next
            }
            return (value, components)
        }
        guard case .dictionary(let members) = root else {
            switch root {
            case .opaque(let opaque) where opaque.reason.contains("calling"):
                throw CheckpointError(
                    .refusedGlobal,
                    "\(path) holds one Python object that \(opaque.reason), not a state dict; nothing is ever called "
                        + "here, so save model.state_dict() instead.")
            default: return (root, [])
            }
        }
        if members.contains(where: { $0.value.tensorValue != nil }) { return (root, []) }
        for key in Self.usualKeys {
            if let value = root[key], case .dictionary = value, value.containsTensor { return (value, [key]) }
        }
        // A usual key whose values are refused: say so rather than look elsewhere.
        for key in Self.usualKeys { if let value = root[key], value.hasOpaqueMember { return (value, [key]) } }
        let others = members.filter { member in
            if case .dictionary = member.value { member.value.containsTensor } else { false }
        }
        if others.count == 1, let key = others[0].key.stringValue { return (others[0].value, [key]) }
        if others.count > 1 {
            throw CheckpointError(
                .invalidConfiguration,
                "\(path) holds several dicts with tensors; name one as the state dict: "
                    + others.compactMap(\.key.stringValue).map { quoted($0) }.joined(separator: ", ") + ".")
        }
        return (root, [])
    }

    private static func describeMembers(_ value: PickleValue) -> String {
        guard case .dictionary(let members) = value else { return "it holds \(value.kind)" }
        let keys = members.prefix(12).compactMap(\.key.stringValue).map { quoted($0, limit: 40) }
        return "it has " + keys.joined(separator: ", ") + (members.count > 12 ? " and \(members.count - 12) more" : "")
    }

    /// Flattens dicts and lists into dotted names.
    private struct Collector {
        let path: String
        var tensors: [(String, Tensor)] = []
        var skipped: [String] = []

        mutating func collect(_ value: PickleValue, name: String) throws {
            switch value {
            case .tensor(let tensor): tensors.append((name, tensor))
            case .dictionary(let members):
                for (key, member) in members {
                    guard let part = key.stringValue ?? key.integerValue.map(String.init) else {
                        throw CheckpointError(
                            .malformed, "\(path): the state dict has a key that is \(key.kind), not a string.")
                    }
                    try collect(member, name: name.isEmpty ? part : "\(name).\(part)")
                }
            case .list(let items), .tuple(let items):
                guard value.containsTensor else {
                    skipped.append("'\(name)' is \(value.kind) without tensors")
                    return
                }
                for (index, item) in items.enumerated() {
                    try collect(item, name: name.isEmpty ? "\(index)" : "\(name).\(index)")
                }
            case .opaque(let opaque):
                let label = name.isEmpty ? "its content" : quoted(name)
                let code: CheckpointError.Code = opaque.reason.contains("calling") ? .refusedGlobal : .unsupported
                throw CheckpointError(
                    code,
                    "\(path): \(label) \(opaque.reason)"
                        + (code == .refusedGlobal ? "; nothing that a file names is ever called here." : "."))
            default:
                skipped.append(name.isEmpty ? "the content is \(value.kind)" : "'\(name)' is \(value.kind)")
            }
        }

        /// Lists what stands beside the chosen dict, level by level.
        mutating func listSkipped(_ root: PickleValue, besides place: [String]) {
            var value = root
            var prefix = ""
            for component in place {
                guard case .dictionary(let members) = value else { return }
                for (key, member) in members where key.stringValue != component {
                    let label = key.stringValue ?? key.json.serialized()
                    if case .opaque(let opaque) = member {
                        skipped.append("'\(prefix)\(label)' \(opaque.reason)")
                    } else {
                        skipped.append("'\(prefix)\(label)' is \(member.kind) beside the state dict")
                    }
                }
                guard let next = value[component] else { return }
                value = next
                prefix += component + "."
            }
        }
    }
}
