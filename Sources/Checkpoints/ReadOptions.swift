/// How to read a weights file.
public struct ReadOptions: Sendable {
    /// The member of the file that holds the tensors, as a dotted path (`state_dict`, `model_ema`); chosen by rule when
    /// `nil`, and ignored by formats that hold nothing but tensors.
    public var stateDictKey: String?
    /// A prefix to remove from names that have it (`module.`, `model.`); names without it are left out and listed as
    /// skipped.
    public var strippedPrefix: String?
    /// Whether to compare stored checksums with the content; reads the whole file once.
    public var verifiesChecksums: Bool
    /// The most bytes that compressed entries of one file may take once inflated; never more than 64 MiB and 32 times
    /// the file, which weights, hard to compress as they are, stay far below.
    public var maximumInflatedByteCount: Int
    /// The longest pickle that is interpreted, in bytes.
    public var maximumPickleByteCount: Int

    /// Whether signed bytes of safetensors files stay bytes, `uint8` tensors of the same bits that the checkpoint lists as
    /// ``Checkpoint/int8Names``, instead of being widened to `int32`.
    public var keepsInt8: Bool

    /// Creates options; every limit can be raised.
    public init(
        stateDictKey: String? = nil, strippedPrefix: String? = nil, verifiesChecksums: Bool = true,
        maximumInflatedByteCount: Int = 4 << 30, maximumPickleByteCount: Int = 64 << 20,
        keepsInt8: Bool = false
    ) {
        self.stateDictKey = stateDictKey
        self.strippedPrefix = strippedPrefix
        self.verifiesChecksums = verifiesChecksums
        self.maximumInflatedByteCount = maximumInflatedByteCount
        self.maximumPickleByteCount = maximumPickleByteCount
        self.keepsInt8 = keepsInt8
    }

    func inflationBudget(forFileOf byteCount: Int) -> Int {
        let (product, overflow) = byteCount.multipliedReportingOverflow(by: 32)
        return overflow ? maximumInflatedByteCount : min(maximumInflatedByteCount, product &+ (64 << 20))
    }
}
