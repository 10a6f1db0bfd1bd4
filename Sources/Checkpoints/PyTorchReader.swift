import JSON
import Tensors

/// Reads the files of `torch.save`, executing nothing: the zip format, the stream of pickles before it, bare pickles.
public enum PyTorchReader {
    /// Everything a file holds as plain data, tensors included.
    ///
    /// - Throws: ``CheckpointError``; messages name the file.
    public static func content(
        of file: FileBytes, options: ReadOptions = ReadOptions()
    ) throws -> (value: PickleValue, format: Checkpoint.Format) {
        if file.bytes.hasPrefix([0x50, 0x4B]) {
            return (try zipContent(file, archive: ZipArchive(file), options: options), .pytorchZip)
        }
        if isLegacy(file.bytes) { return (try legacyContent(file, options: options), .pytorchLegacy) }
        try checkSize(file.count, file, options)
        return (try pickleContent(file), .pickle)
    }

    /// The state dict a file holds; see ``StateDictSelector`` for which member that is.
    ///
    /// - Throws: ``CheckpointError``; messages name the file and, where there is one, the tensor.
    public static func read(_ file: FileBytes, options: ReadOptions = ReadOptions()) throws -> Checkpoint {
        let (value, format) = try content(of: file, options: options)
        return try StateDictSelector(path: file.path, options: options).checkpoint(value, format: format)
    }

    /// The tensors of a TorchScript archive, by names such as `layers.conv.weight`; its code stays unread.
    ///
    /// - Throws: ``CheckpointError``; messages name the file.
    public static func scriptTensors(of file: FileBytes, options: ReadOptions = ReadOptions()) throws -> [String:
        Tensor]
    {
        let root = try zipContent(file, archive: ZipArchive(file), options: options, allowsScript: true)
        var tensors: [String: Tensor] = [:]
        func walk(_ value: PickleValue, _ path: String) {
            switch value {
            case .tensor(let tensor): tensors[path] = tensor
            case .opaque(let object): if let attributes = object.attributes { walk(attributes, path) }
            case .dictionary(let members):
                for member in members {
                    guard let key = member.key.stringValue else { continue }
                    walk(member.value, path.isEmpty ? key : "\(path).\(key)")
                }
            default: return
            }
        }
        walk(root, "")
        return tensors
    }

    private static func checkSize(_ count: Int, _ file: FileBytes, _ options: ReadOptions) throws {
        guard count <= options.maximumPickleByteCount else {
            throw CheckpointError(
                .limitExceeded,
                "\(file.path) holds a pickle of \(count) bytes; "
                    + "at most \(options.maximumPickleByteCount) are interpreted."
            )
        }
    }

    // MARK: Zip

    static func zipContent(
        _ file: FileBytes, archive: ZipArchive, options: ReadOptions, allowsScript: Bool = false
    ) throws -> PickleValue {
        let pickles = archive.names.filter { $0.hasSuffix("/data.pkl") && $0.split(separator: "/").count == 2 }
        guard let name = pickles.first, let entry = archive.entries[name] else {
            throw CheckpointError(
                .unknownFormat, "\(file.path) is a zip archive without 'data.pkl', so not one that torch.save wrote.")
        }
        let folder = String(name.dropLast("data.pkl".count))
        if !allowsScript, archive.entries[folder + "constants.pkl"] != nil {
            throw CheckpointError(
                .unsupported, "\(file.path) is a TorchScript archive, which holds code; save its state dict instead.")
        }
        var budget = options.inflationBudget(forFileOf: file.count)
        if let order = archive.entries[folder + "byteorder"] {
            let text = try archive.content(of: order, verifiesChecksum: false, budget: &budget)
            guard withExtendedLifetime(text.owner, { text.bytes.elementsEqual("little".utf8) }) else {
                throw CheckpointError(.unsupported, "\(file.path) was written in big-endian byte order.")
            }
        }
        try checkSize(entry.size, file, options)
        let pickle = try archive.content(of: entry, verifiesChecksum: options.verifiesChecksums, budget: &budget)
        return try withExtendedLifetime(pickle.owner) {
            var machine = PickleMachine(pickle.bytes, path: file.path)
            let root = try machine.run()
            let source = ZipStorages(archive: archive, folder: folder, options: options, budget: budget)
            var converter = PickleConverter(machine, source: source)
            converter.allowCopies(forFileOf: file.count)
            return try converter.convert(root)
        }
    }

    private struct ZipStorages: PickleStorageSource {
        let archive: ZipArchive
        let folder: String
        let options: ReadOptions
        var budget: Int
        /// Storages that were seen: checksums are compared once, and views of one storage share its memory.
        var seen: [String: (bytes: UnsafeRawBufferPointer, owner: FileBytes)] = [:]

        init(archive: ZipArchive, folder: String, options: ReadOptions, budget: Int) {
            self.archive = archive
            self.folder = folder
            self.options = options
            self.budget = budget
        }

        mutating func content(
            of storage: PickleStorage, elementWidth: Int
        ) throws -> (bytes: UnsafeRawBufferPointer, owner: FileBytes) {
            if let known = seen[storage.key] { return known }
            guard let entry = archive.entries[folder + "data/" + storage.key] else {
                throw CheckpointError(
                    .malformed, "\(archive.file.path) lacks the storage \(quoted(storage.key)) that a tensor uses.")
            }
            let content = try archive.content(
                of: entry, verifiesChecksum: options.verifiesChecksums, budget: &budget)
            seen[storage.key] = content
            return content
        }
    }

    // MARK: Legacy

    /// The magic number that opens the stream of pickles, after the protocol instruction.
    private static let magic: [UInt8] = [0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E]

    static func isLegacy(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // Protocol 4 and later put a frame of 9 bytes between protocol and number.
        [2, 11].contains { start in
            bytes.first == 0x80 && (bytes.slice(at: start, count: magic.count)?.elementsEqual(magic) ?? false)
        }
    }

    private static func legacyContent(_ file: FileBytes, options: ReadOptions) throws -> PickleValue {
        // Pickles: magic number, protocol, system, the object, the keys of the storages. Then the storages.
        let magic = try legacyPickle(file, at: 0, options: options)
        let version = try legacyPickle(file, at: magic.end, options: options)
        let system = try legacyPickle(file, at: version.end, options: options)
        let info = try convertPlain(system.machine, system.root)
        if case .bool(false)? = info["little_endian"] {
            throw CheckpointError(.unsupported, "\(file.path) was written in big-endian byte order.")
        }
        let main = try legacyPickle(file, at: system.end, options: options)
        let keyPickle = try legacyPickle(file, at: main.end, options: options)
        guard case .list(let keys) = try convertPlain(keyPickle.machine, keyPickle.root) else {
            throw CheckpointError(.malformed, "\(file.path): the list of storages is not a list.")
        }
        var source = LegacyStorages(file: file)
        var next = keyPickle.end
        let widths = storageWidths(main.machine)
        for key in keys {
            guard let key = key.stringValue, let width = widths[key] else {
                throw CheckpointError(
                    .malformed, "\(file.path) lists a storage that no tensor uses or of unknown type.")
            }
            guard let count: Int64 = file.bytes.littleEndian(at: next), count >= 0,
                let byteCount = checkedByteCount([Int(count)], unit: width),
                let bytes = file.bytes.slice(at: next + 8, count: byteCount)
            else { throw CheckpointError(.truncated, "\(file.path) is cut off inside the storage \(quoted(key)).") }
            source.storages[key] = bytes
            next += 8 + byteCount
        }
        var converter = PickleConverter(main.machine, source: source)
        converter.allowCopies(forFileOf: file.count)
        return try converter.convert(main.root)
    }

    private struct Pickle {
        let machine: PickleMachine
        let root: PickleItem
        var end: Int { machine.position }
    }

    private static func legacyPickle(_ file: FileBytes, at position: Int, options: ReadOptions) throws -> Pickle {
        // Damage must not make the machine run on through gigabytes of storages.
        let limit = min(file.count - position, options.maximumPickleByteCount) + position
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[..<limit])
        var machine = PickleMachine(bytes, position: position, path: file.path)
        let root = try machine.run()
        return Pickle(machine: machine, root: root)
    }

    private static func storageWidths(_ machine: PickleMachine) -> [String: Int] {
        var widths: [String: Int] = [:]
        for case .storage(let storage) in machine.objects { widths[storage.key] = legacyWidth(storage.typeName) }
        return widths
    }

    private static func legacyWidth(_ typeName: String) -> Int? {
        let name = typeName.split(separator: ".").last.map(String.init) ?? ""
        switch name {
        case "DoubleStorage", "LongStorage", "ComplexFloatStorage": return 8
        case "FloatStorage", "IntStorage", "QInt32Storage": return 4
        case "HalfStorage", "BFloat16Storage", "ShortStorage": return 2
        case "ByteStorage", "CharStorage", "BoolStorage", "QInt8Storage", "QUInt8Storage", "UntypedStorage": return 1
        case "ComplexDoubleStorage": return 16
        default: return nil
        }
    }

    private struct LegacyStorages: PickleStorageSource {
        let file: FileBytes
        var storages: [String: UnsafeRawBufferPointer] = [:]

        func content(
            of storage: PickleStorage, elementWidth: Int
        ) throws -> (bytes: UnsafeRawBufferPointer, owner: FileBytes) {
            guard let bytes = storages[storage.key],
                let start = checkedByteCount([storage.start], unit: elementWidth), start <= bytes.count
            else {
                throw CheckpointError(
                    .malformed, "\(file.path) lacks the storage \(quoted(storage.key)) that a tensor uses.")
            }
            return (UnsafeRawBufferPointer(rebasing: bytes[start...]), file)
        }
    }

    // MARK: Bare pickles

    private static func pickleContent(_ file: FileBytes) throws -> PickleValue {
        var machine = PickleMachine(file.bytes, path: file.path)
        let root = try machine.run()
        var converter = PickleConverter(machine, source: NoStorages(path: file.path))
        converter.allowCopies(forFileOf: file.count)
        return try converter.convert(root)
    }

    private static func convertPlain(_ machine: PickleMachine, _ root: PickleItem) throws -> PickleValue {
        var converter = PickleConverter(machine, source: NoStorages(path: machine.path))
        return try converter.convert(root)
    }

    private struct NoStorages: PickleStorageSource {
        let path: String

        func content(
            of storage: PickleStorage, elementWidth: Int
        ) throws -> (bytes: UnsafeRawBufferPointer, owner: FileBytes) {
            throw CheckpointError(
                .malformed, "\(path): a pickle refers to a tensor's storage that the file cannot hold.")
        }
    }
}
