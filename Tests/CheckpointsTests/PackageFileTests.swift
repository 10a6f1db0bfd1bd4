import Checkpoints
import Foundation
import Testing

/// Packages made with Python's tarfile and zipfile: `p-1.0/a.txt`, "hello", and "world" 200 times under a name of 150 n.
private let packages = [
    "GNU tar": """
    H4sIAAAAAAAC/+3WQQ6CMBRF0S6lG7C00NKpC2ATJBo1NoUgRpcvYeCgkjgCDdwz+O385fW33RmlMzErPSitHc9Bek7cS1s4IZ1YwP3W152UYqPa\
    Mf9a9c/+h/m7JH9vjRVSk//szscQGoGtUpnK9lUTT9UlXmfs/0Tv353Pi4/+eze8/xX9X+j9j3+Jdq4j/y/733iX/P+KvDSG/b+ER9OFA4PBWPVg\
    0wEAAAAAAAAAsB0vfN1L2QAoAAA=
    """,
    "pax": """
    H4sIAAAAAAAC/+3WvQrCMBiF4cxeRW7AtKn5mQRHR28h0EKHoqVG7OVbKgiWglOq2PcZvmTL8HE4abda5ZlIKh84Y8ZzMD1n7s54K6QVC7hdY+iG\
    J8U6teP+g4p9/OL+7WT/3lgjZM7+k6urprkIrJXKVHY4hf5YhbLq0uV/JvevzBfGvedf54X2QvbkPzntnGxDrPfPIjj/pA05Tdv/adf3of+1t5P/\
    365wVtP/S7hfuqZkMBh/PWg6AAAAAAAAAADW4wF6f9M0ACgAAA==
    """,
]
private let wheel = """
    UEsDBBQAAAAAAAAAIQCGphA2BQAAAAUAAAAHAAAAcC9hLnR4dGhlbGxvUEsDBBQAAAAIAAAAIQAujODiDwAAAOgDAAAHAAAAcC9iLnR4dCvPL8pJKR8l\
    RolRYjgTAFBLAQIUAxQAAAAAAAAAIQCGphA2BQAAAAUAAAAHAAAAAAAAAAAAAACAAQAAAABwL2EudHh0UEsBAhQDFAAAAAgAAAAhAC6M4OIPAAAA6AMA\
    AAcAAAAAAAAAAAAAAIABKgAAAHAvYi50eHRQSwUGAAAAAAIAAgBqAAAAXgAAAAAA
    """

private func file(_ base64: String) throws -> FileBytes {
    FileBytes(copying: try #require(Data(base64Encoded: base64)), name: "package")
}

private func text(_ file: FileBytes) -> String { String(decoding: file.bytes, as: UTF8.self) }

@Suite struct PackageFileTests {
    @Test("gzipped tar archives are read, long names too", arguments: packages.keys.sorted())
    func tar(_ kind: String) throws {
        let package = try PackageFile(file(try #require(packages[kind])))
        let long = "p-1.0/" + String(repeating: "n", count: 150)
        #expect(package.names == ["p-1.0/a.txt", long])
        #expect(text(try package.content(of: "p-1.0/a.txt")) == "hello")
        #expect(text(try package.content(of: long)) == String(repeating: "world", count: 200))
        let error = try #require(throws: CheckpointError.self) { _ = try package.content(of: "p-1.0/b.txt") }
        #expect(error.code == .notFound)
    }

    @Test("wheels are read, stored and deflated entries")
    func zip() throws {
        let package = try PackageFile(file(wheel))
        #expect(package.names == ["p/a.txt", "p/b.txt"])
        #expect(text(try package.content(of: "p/a.txt")) == "hello")
        #expect(text(try package.content(of: "p/b.txt")) == String(repeating: "world", count: 200))
    }

    @Test("a package that is cut off anywhere is refused", arguments: packages.keys.sorted())
    func truncation(_ kind: String) throws {
        let text = try #require(packages[kind])
        let whole = try #require(Data(base64Encoded: text))
        for count in 2..<whole.count {
            let part = FileBytes(copying: whole.prefix(count), name: "part")
            #expect(throws: CheckpointError.self) { _ = try PackageFile(part) }
        }
    }

    @Test("a changed byte is noticed, wherever it lies in the content")
    func damage() throws {
        let text = try #require(packages["pax"])
        let whole = try #require(Data(base64Encoded: text))
        // Byte 185 holds a spare bit of the compressed stream: Python's gzip reads the same bytes from both.
        for place in 10..<whole.count where place != 185 {
            var bytes = whole
            bytes[place] ^= 4
            #expect(throws: CheckpointError.self, "byte \(place)") {
                _ = try PackageFile(FileBytes(copying: bytes, name: "damaged"))
            }
        }
    }

    @Test("what is neither a wheel nor a .tar.gz is refused in a sentence")
    func other() throws {
        let error = try #require(throws: CheckpointError.self) {
            _ = try PackageFile(FileBytes(copying: Data("hello".utf8), name: "x"))
        }
        #expect(error.code == .unknownFormat && error.message.contains(".tar.gz"))
    }
}
