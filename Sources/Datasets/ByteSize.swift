/// Numbers of bytes as people write them.
public enum ByteSize {
    private static let units = [
        "": 1, "b": 1, "kb": 1_000, "mb": 1_000_000, "gb": 1_000_000_000, "tb": 1_000_000_000_000,
        "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    ]

    /// Reads `256MB`, `1.5 GiB` or `1000`; `nil` for anything else, and for what is not from 0 up to 2^60.
    public static func parse(_ text: String) -> Int? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(number.count).drop { $0 == " " }.lowercased()
        guard let factor = units[unit], let value = Double(number), value.isFinite, value >= 0,
            value * Double(factor) <= 0x1p60
        else { return nil }
        return Int((value * Double(factor)).rounded())
    }

    /// The number in a unit that suits it: `1.5 GB`.
    public static func text(_ bytes: Int) -> String {
        guard let unit = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)].first(where: { Double(bytes) >= $0.1 })
        else {
            return "\(bytes) bytes"
        }
        let value = Double(bytes) / unit.1
        let tenths = Int((value * 10).rounded())
        return
            "\(value < 100 && tenths % 10 != 0 ? "\(tenths / 10).\(tenths % 10)" : "\(Int(value.rounded()))") \(unit.0)"
    }
}
