/// Comma-separated values by RFC 4180: quoted fields may hold commas, doubled quotes and line breaks.
enum CSVRows {
    struct Row {
        var fields: [String]
        /// The line on which the row begins, from 1.
        var line: Int
    }

    /// Splits text into rows; blank lines are passed over.
    static func parse(_ text: String, name: String) throws -> [Row] {
        var rows: [Row] = []
        var fields: [String] = []
        var field: [UInt8] = []
        var isQuoted = false
        var wasQuoted = false
        var line = 1
        var rowLine = 1
        func endField() {
            fields.append(String(decoding: field, as: UTF8.self))
            field.removeAll(keepingCapacity: true)
            wasQuoted = false
        }
        func endRow() {
            let isBlank = fields.isEmpty && field.isEmpty && !wasQuoted
            endField()
            if !isBlank { rows.append(Row(fields: fields, line: rowLine)) }
            fields.removeAll(keepingCapacity: true)
            rowLine = line
        }
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == 10 { line += 1 }
            if isQuoted {
                if byte != 34 {
                    field.append(byte)
                } else if index < bytes.count, bytes[index] == 34 {
                    field.append(34)
                    index += 1
                } else {
                    isQuoted = false
                    wasQuoted = true
                }
                continue
            }
            switch byte {
            case 34 where field.isEmpty && !wasQuoted: isQuoted = true
            case 44: endField()
            case 10: endRow()
            case 13 where index == bytes.count || bytes[index] == 10: continue
            default:
                if wasQuoted || byte == 34 {
                    throw DatasetError(
                        .malformed,
                        "\(name), line \(line): a quote must enclose a whole field, and quotes inside are doubled.")
                }
                field.append(byte)
            }
        }
        if isQuoted {
            throw DatasetError(
                .malformed, "\(name): the quote that opens in the row of line \(rowLine) is never closed.")
        }
        if !fields.isEmpty || !field.isEmpty || wasQuoted { endRow() }
        return rows
    }
}
