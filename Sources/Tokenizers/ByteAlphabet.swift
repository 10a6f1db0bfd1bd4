/// The printable stand-ins for the 256 bytes in which byte-level vocabularies are written.
///
/// Source: the byte table of GPT-2 and CLIP: printable Latin-1 stands for itself, the other bytes, in order, for the
/// scalars from U+0100 on.
enum ByteAlphabet {
    /// The bytes in the order of the vocabulary's first 256 ids.
    static let bytes: [UInt8] = {
        let printable = (0...255).filter(isPrintable)
        return (printable + (0...255).filter { !isPrintable($0) }).map { UInt8($0) }
    }()

    /// The stand-in of every byte.
    static let scalarOfByte: [Unicode.Scalar] = {
        var hidden: UInt32 = 0
        return (0...255).map { value in
            if isPrintable(value) { return Unicode.Scalar(UInt8(value)) }
            hidden += 1
            return Unicode.Scalar(0xFF + hidden) ?? "?"
        }
    }()

    /// The byte of every stand-in.
    static let byteOfScalar = Dictionary(
        uniqueKeysWithValues: zip(scalarOfByte, (0...255).map { UInt8($0) }))

    private static func isPrintable(_ value: Int) -> Bool {
        (0x21...0x7E).contains(value) || (0xA1...0xAC).contains(value) || (0xAE...0xFF).contains(value)
    }
}
