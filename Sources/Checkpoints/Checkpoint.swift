import Tensors

/// The named tensors of a weights file, with what else the file says.
public struct Checkpoint: Sendable {
    /// The formats that are read.
    public enum Format: String, Sendable, CaseIterable {
        /// One safetensors file.
        case safetensors
        /// Several safetensors files with an index.
        case shardedSafetensors
        /// PyTorch's zip archive (1.6 and later).
        case pytorchZip
        /// PyTorch's stream of pickles (before 1.6).
        case pytorchLegacy
        /// A bare pickle, such as one of NumPy arrays.
        case pickle
        /// One NumPy array.
        case npy
        /// NumPy's zip archive of arrays.
        case npz
    }

    /// The names in the file's order; sorted for safetensors.
    public var names: [String]
    /// The tensors by name.
    public var tensors: [String: Tensor]
    /// Strings the file carries beside the tensors.
    public var metadata: [String: String]
    /// The format that was found.
    public var format: Format
    /// What of the file is not among the tensors: its path and why, one sentence part each.
    public var skipped: [String]
    /// Tensors that hold signed bytes of the file as `uint8`; see ``ReadOptions/keepsInt8``.
    public var int8Names: Set<String> = []
    /// Everything a pickle held, as data; `nil` for other formats.
    public var content: PickleValue?

    /// Creates a checkpoint.
    ///
    /// - Precondition: the names are distinct.
    public init(
        _ tensors: [(String, Tensor)], metadata: [String: String] = [:], format: Format = .safetensors,
        skipped: [String] = [], content: PickleValue? = nil
    ) {
        self.names = tensors.map(\.0)
        self.tensors = Dictionary(uniqueKeysWithValues: tensors)
        self.metadata = metadata
        self.format = format
        self.skipped = skipped
        self.content = content
    }

    /// The tensor of that name.
    public subscript(name: String) -> Tensor? { tensors[name] }

    /// The number of elements of all tensors.
    public var elementCount: Int { tensors.values.reduce(0) { $0 + $1.count } }
}
