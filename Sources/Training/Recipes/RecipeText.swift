import Checkpoints
import JSON

extension JSONObject {
    /// The object as YAML, every key on a line of its own in block style, lists in flow style.
    ///
    /// - Parameter comment: the lines above a key, given its path with dots; none when it returns `nil`.
    public func yaml(comment: (String) -> String? = { _ in nil }) -> String {
        var lines: [String] = []
        write(to: &lines, prefix: "", indent: "", comment)
        return lines.joined(separator: "\n") + "\n"
    }

    private func write(to lines: inout [String], prefix: String, indent: String, _ comment: (String) -> String?) {
        for (key, value) in members {
            let path = prefix + key
            if let text = comment(path) {
                if indent.isEmpty, !lines.isEmpty { lines.append("") }
                lines += wrapped(text, width: 118 - indent.count).map { "\(indent)# \($0)" }
            }
            if case .object(let nested) = value, !nested.isEmpty {
                lines.append("\(indent)\(JSONValue.string(key).yamlScalar):")
                nested.write(to: &lines, prefix: path + ".", indent: indent + "  ", comment)
            } else {
                lines.append("\(indent)\(JSONValue.string(key).yamlScalar): \(value.yamlScalar)")
            }
        }
    }
}

extension JSONValue {
    /// The value on one line of YAML.
    fileprivate var yamlScalar: String {
        switch self {
        case .array(let elements): "[" + elements.map(\.yamlScalar).joined(separator: ", ") + "]"
        case .string(let text) where text.isPlainInYAML: text
        default: serialized()
        }
    }
}

extension String {
    /// Whether YAML reads the text as itself without quotes; it has words for truth, nothing and numbers.
    fileprivate var isPlainInYAML: Bool {
        guard let first = unicodeScalars.first, first.isASCII, first.properties.isAlphabetic,
            unicodeScalars.allSatisfy({
                $0.isASCII && ($0.properties.isAlphabetic || "0123456789_-./".contains(Character($0)))
            })
        else { return false }
        return !["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"].contains(lowercased())
    }
}

/// A text cut at spaces into lines of at most `width` characters.
private func wrapped(_ text: String, width: Int) -> [String] {
    var lines: [String] = [""]
    for word in text.split(separator: " ") {
        if lines[lines.count - 1].isEmpty {
            lines[lines.count - 1] = String(word)
        } else if lines[lines.count - 1].count + 1 + word.count <= width {
            lines[lines.count - 1] += " " + word
        } else {
            lines.append(String(word))
        }
    }
    return lines
}

extension Recipe {
    /// The whole recipe as a YAML file, every key with its meaning, range and default above it.
    ///
    /// - Parameter title: the sentence at the top.
    public func commentedText(title: String) throws -> String {
        // The defaults of a recipe that states its model alone.
        let plain = try Self(JSONFields(JSONObject([("model", .string(model))]), source: "the defaults")).effective
        let keys = Dictionary(uniqueKeysWithValues: allKeys.map { ($0.path, $0) })
        let text = effective.yaml { path in
            guard let key = keys[path] else { return Self.sections[path] }
            let parts = [
                key.range, plain.value(at: path).map { "default \($0.isEmptyText ? "empty" : $0.serialized())" },
            ].compactMap { $0 }
            let facts = parts.joined(separator: "; ")
            return parts.isEmpty ? key.meaning : "\(key.meaning) \(facts.prefix(1).uppercased() + facts.dropFirst())."
        }
        return "# \(title)\n\n\(text)"
    }

    private static var sections: [String: String] {
        [
            "answers": "Which answers there are, and which are right.",
            "arguments": "What the model is built with, in the names of its published builder.",
            "data": "The clips and how they are cut.", "loss": "What the loss is made of.",
            "arguments.vision": "The encoder of pictures.", "arguments.text": "The encoder of texts.",
            "arguments.text_model_config": "The encoder of texts.",
            "arguments.video_model_config": "The encoder of clips.",
            "arguments.vision_encoder_args": "The encoder of pictures.",
            "arguments.text_encoder_args": "The encoder of texts.",
            "arguments.multimodal_encoder_args": "What reads texts with pictures.",
            "arguments.projection_args": "From the encoders to the space where pictures and texts are compared.",
            "arguments.similarity_args": "How they are compared.",
            "arguments.text_embeddings_args": "The decoder's table of words.",
            "arguments.prediction_head_args": "From the decoder's states to words.",
            "sampling": "How many steps of an epoch each kind has, as a share of those that its items fill.",
            "depth": "How depth becomes numbers that the model sees.",
            "masking": "What is hidden of pictures and texts, to be predicted.",
            "augment": "How training looks at pictures or clips.", "text": "The text tokenizer.",
            "training": "How the run is optimized, measured and saved.",
        ]
    }
}

extension JSONObject {
    fileprivate func value(at path: String) -> JSONValue? {
        path.split(separator: ".").reduce(JSONValue.object(self) as JSONValue?) { $0?[String($1)] }
    }
}

extension JSONValue {
    fileprivate var isEmptyText: Bool { self == .string("") }
}
