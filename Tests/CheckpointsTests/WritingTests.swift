import Foundation
import Tensors
import TestSupport
import Testing

@testable import Checkpoints

private func model(_ value: Float, width: Int = 4) -> ModelDirectory {
    let weights = Tensor([Float](repeating: value, count: width))
    return ModelDirectory(
        configuration: .init(model: "tiny", arguments: ["width": .integer(width), "rate": 0.5], extra: ["note": "hi"]),
        checkpoint: Checkpoint([("weight", weights), ("bias", weights)]),
        tokenizerFiles: ["vocab.json": Array("{}".utf8)], modelCard: "# Tiny\n")
}

@Suite("Writing files and folders")
struct WritingTests {
    @Test("a file shows the old or the new content whichever operation fails", arguments: [ENOSPC, EACCES, EIO, EFBIG])
    func failingFile(number: Int32) throws {
        try withTemporaryFolder { folder in
            let path = folder + "/file"
            try AtomicFile.write("old", to: path)
            for failing in 1...10 {
                let layer = FaultyFileLayer(failing: failing, number: number)
                do {
                    try AtomicFile.write("new", to: path, layer: layer)
                    #expect(failing > layer.operations)
                    break
                } catch let error as CheckpointError {
                    #expect(error.code == .writeFailed)
                    #expect(error.message.contains(path))
                    // The last operation makes the rename durable; the new content is visible by then.
                    let content = try String(contentsOfFile: path, encoding: .utf8)
                    #expect(content == (failing == 5 ? "new" : "old"))
                    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["file"])
                }
            }
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "new")
        }
    }

    @Test("a model directory is the old or the new one whichever operation fails", arguments: [true, false])
    func failingFolder(once: Bool) throws {
        try withTemporaryFolder { folder in
            let path = folder + "/model"
            try model(1).write(to: path)
            for failing in 1...100 {
                let layer = FaultyFileLayer(failing: failing, once: once)
                do {
                    try model(2).write(to: path, overwrite: true, layer: layer)
                    break
                } catch let error as CheckpointError {
                    #expect(error.message.contains("the disk is full"))
                    #expect(error.message.contains(path))
                    let value = try numbers(#require(ModelDirectory.read(path).checkpoint["weight"]))
                    #expect(value == [1, 1, 1, 1] || value == [2, 2, 2, 2])
                    #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["model"])
                }
                #expect(failing < 90)
            }
            #expect(try numbers(#require(ModelDirectory.read(path).checkpoint["weight"])) == [2, 2, 2, 2])
        }
    }

    @Test("a model directory reads back as it was written")
    func modelDirectory() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/model"
            try model(1).write(to: path)
            let read = try ModelDirectory.read(path)
            #expect(read.configuration == model(1).configuration)
            #expect(read.tokenizerFiles == model(1).tokenizerFiles)
            #expect(read.modelCard == "# Tiny\n")
            #expect(read.checkpoint.names == ["bias", "weight"])
            let config = try String(contentsOfFile: path + "/config.json", encoding: .utf8)
            #expect(
                config == """
                    {
                      "format_version": 1,
                      "model": "tiny",
                      "arguments": {
                        "width": 4,
                        "rate": 0.5
                      },
                      "note": "hi"
                    }

                    """)
        }
    }

    @Test("weights over the limit are split into shards and gathered again")
    func shards() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/model"
            try model(1).write(to: path, maximumShardByteCount: 20)
            let names = try FileManager.default.contentsOfDirectory(atPath: path)
            #expect(names.filter { $0.hasSuffix(".safetensors") }.count == 2)
            #expect(try ModelDirectory.read(path).checkpoint.names == ["bias", "weight"])
        }
    }

    @Test("an existing folder is replaced only when told, and only when it is a model")
    func overwriting() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/model"
            try model(1).write(to: path)
            let refused = #expect(throws: CheckpointError.self) { try model(2).write(to: path) }
            #expect(refused?.code == .alreadyExists)
            try model(2).write(to: path + "/", overwrite: true)
            #expect(try numbers(#require(ModelDirectory.read(path).checkpoint["weight"])) == [2, 2, 2, 2])
            try AtomicFile.write("precious", to: folder + "/precious")
            #expect(throws: CheckpointError.self) { try model(2).write(to: folder, overwrite: true) }
            #expect(try String(contentsOfFile: folder + "/precious", encoding: .utf8) == "precious")
        }
    }

    @Test("names that leave the folder are refused", arguments: ["../x", "/x", "a/../x", "", "a//b", ".", "a\0b"])
    func names(name: String) throws {
        try withTemporaryFolder { folder in
            #expect(throws: CheckpointError.self) {
                try AtomicFolder.write(to: folder + "/new") { try $0.write(name, text: "x") }
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(left.isEmpty)
        }
    }

    @Test("a folder that is missing is named")
    func missingParent() throws {
        let error = #expect(throws: CheckpointError.self) {
            try SafetensorsWriter.write(["x": Tensor([Float(1)])], to: "/nonexistent/folder/x.safetensors")
        }
        #expect(error?.message.contains("/nonexistent/folder does not exist") == true)
    }

    @Test("a full device is reported in words")
    func fullDevice() throws {
        let file = open("/dev/full", O_WRONLY)
        guard file >= 0 else { return }
        defer { close(file) }
        let error = #expect(throws: FileLayerError.self) {
            try [UInt8](repeating: 0, count: 4096).withUnsafeBytes { try SystemFileLayer().write($0, to: file) }
        }
        #expect(error?.number == ENOSPC)
    }

    @Test("the checksum is that of zlib and tells a changed byte")
    func checksum() throws {
        try withTemporaryFolder { folder in
            let summary = try AtomicFile.write("123456789", to: folder + "/file")
            #expect(summary.checksum == 0xCBF4_3926)
            #expect(try fileChecksum(path: folder + "/file") == summary)
            try AtomicFile.write("123456788", to: folder + "/file")
            #expect(try fileChecksum(path: folder + "/file") != summary)
        }
    }
}
