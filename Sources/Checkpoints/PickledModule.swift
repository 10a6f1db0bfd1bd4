import Tensors

extension PickleValue {
    /// What `state_dict()` would have given for a module that was pickled whole: its parameters and persistent buffers by
    /// dotted name, and those of the modules inside it. `nil` for everything else.
    ///
    /// A module's attributes are plain data; of its class only the name is read.
    var stateOfModule: PickleValue? {
        guard case .opaque(let object) = self, let attributes = object.attributes,
            case .dictionary? = attributes["_parameters"], case .dictionary? = attributes["_modules"]
        else { return nil }
        var entries: [(key: PickleValue, value: PickleValue)] = []
        Self.collect(attributes, prefix: "", into: &entries)
        return .dictionary(entries)
    }

    private static func collect(
        _ attributes: PickleValue, prefix: String, into entries: inout [(key: PickleValue, value: PickleValue)]
    ) {
        func members(_ key: String) -> [(name: String, value: PickleValue)] {
            guard case .dictionary(let members)? = attributes[key] else { return [] }
            return members.compactMap { member in member.key.stringValue.map { ($0, member.value) } }
        }
        var passing: [String] = []
        if case .set(let names)? = attributes["_non_persistent_buffers_set"] {
            passing = names.compactMap(\.stringValue)
        }
        let tensors = members("_parameters") + members("_buffers").filter { !passing.contains($0.name) }
        for (name, value) in tensors where value.tensorValue != nil {
            entries.append((.string(prefix + name), value))
        }
        for (name, value) in members("_modules") {
            guard case .opaque(let object) = value, let inner = object.attributes else { continue }
            collect(inner, prefix: prefix + name + ".", into: &entries)
        }
    }
}
