import Checkpoints
import Evaluation
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct MeasureTests {
    @Test("PSNR and SSIM are scikit-image's, frame by frame")
    func framesAgreeWithTheReference() throws {
        let expected = try fixture()
        let (a, b) = (clip(0, frames: 3, height: 40, width: 52), clip(1, frames: 3, height: 40, width: 52))
        let ratios = expected["psnr"]?.numbers ?? []
        let similarities = expected["ssim"]?.numbers ?? []
        #expect(ratios.count == 3 && similarities.count == 3)
        for (value, wanted) in zip(PeakSignalToNoise.ratios(a, b), ratios) {
            #expect(isClose(value, wanted, relative: 1e-12))
        }
        for (value, wanted) in zip(try StructuralSimilarity.similarities(a, b), similarities) {
            #expect(isClose(value, wanted, relative: 1e-9))
        }
    }

    @Test("the same frames have an infinite ratio, which is counted and kept out of the mean")
    func identicalFrames() throws {
        let a = clip(0, frames: 2, height: 16, width: 16)
        var measure = PeakSignalToNoise()
        measure.add(a, a)
        #expect(measure.result(FrameProtocol()).value == .infinity)
        measure.add(a, clip(1, frames: 2, height: 16, width: 16))
        let result = measure.result(FrameProtocol())
        #expect(result.value.isFinite)
        #expect(result.counts.first { $0.name == "identical_frames" }?.count == 2)
        #expect(try StructuralSimilarity.similarities(a, a).allSatisfy { abs($0 - 1) < 1e-12 })
    }

    @Test("frames smaller than the window are refused with their size")
    func smallFrames() throws {
        let a = clip(0, frames: 1, height: 10, width: 40)
        let error = try #require(throws: EvaluationError.self) { _ = try StructuralSimilarity.similarities(a, a) }
        #expect(error.code == .tooSmall && error.message.contains("40 x 10"))
    }

    @Test("codes that are used alike have as much perplexity as there are of them")
    func codeCounts() throws {
        var counter = CodeCounter(codes: 8)
        try counter.add(Tensor([0, 1, 2, 3, 0, 1, 2, 3].map { Int64($0) }, shape: [2, 4]))
        let results = counter.results()
        #expect(results[0].name == "codebook_usage" && results[0].value == 0.5)
        #expect(abs(results[1].value - 4) < 1e-12)
        let error = try #require(throws: EvaluationError.self) { try counter.add(Tensor([Int64(8)], shape: [1])) }
        #expect(error.code == .invalidData && error.message.contains("0..<8"))
    }

    @Test("recall counts the right rows among the nearest, in both directions")
    func recall() throws {
        let a = Tensor([1, 0, 0, 1, 1, 1] as [Float], shape: [3, 2])
        // Row 0 finds itself, row 1 finds row 2 first, row 2 is as near to 0 as to 1.
        let b = Tensor([1, 0.1, 1, 1.2, 0.1, 1] as [Float], shape: [3, 2])
        let results = try RecallAtK.measure(a, b, depths: [1, 2])
        #expect(results.map(\.name) == ["recall@1", "recall@2", "recall_back@1", "recall_back@2"])
        #expect(abs(results[0].value - 1.0 / 3) < 1e-12)
    }

    @Test("embeddings that are all alike find nothing: ties count against the right one")
    func collapsedEmbeddings() throws {
        let same = Tensor([Float](repeating: 1, count: 12), shape: [4, 3])
        let results = try RecallAtK.measure(same, same, depths: [1, 4])
        #expect(results[0].value == 0)
        #expect(results[1].value == 1)
    }

    @Test("embeddings that do not fit are refused")
    func wrongEmbeddings() throws {
        let a = Tensor([Float](repeating: 1, count: 6), shape: [3, 2])
        let b = Tensor([Float](repeating: 1, count: 4), shape: [2, 2])
        let unpaired = try #require(throws: EvaluationError.self) { _ = try RecallAtK.measure(a, b) }
        #expect(unpaired.code == .unpaired)
        let zeros = Tensor.zeros([3, 2])
        let empty = try #require(throws: EvaluationError.self) { _ = try RecallAtK.measure(a, zeros) }
        #expect(empty.code == .invalidData)
        let deep = try #require(throws: EvaluationError.self) { _ = try RecallAtK.measure(a, a, depths: [4]) }
        #expect(deep.code == .invalidSetting)
    }
}

@Suite struct ProtocolTests {
    @Test("SHA-256 is that of the standard's examples, however the bytes are cut")
    func digests() {
        var digest = Digest()
        digest.add("abc")
        #expect(digest.hexadecimal == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
        digest = Digest()
        digest.add(text)
        #expect(digest.hexadecimal == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        let long = String(repeating: "a", count: 1_000_000)
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        for part in [1_000_000, 999, 64, 63] {
            digest = Digest()
            var rest = Substring(long)
            while !rest.isEmpty {
                digest.add(String(rest.prefix(part)))
                rest = rest.dropFirst(part)
            }
            #expect(digest.hexadecimal == million)
            if part < 1000 { continue }
            #expect(Digest().hexadecimal == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        }
    }

    @Test("a protocol's id follows every step of it")
    func ids() {
        let a = MeasureProtocol([("frames", "all"), ("size", "64x64")])
        #expect(a.id.count == 8)
        #expect(a.id == MeasureProtocol([("frames", "all"), ("size", "64x64")]).id)
        #expect(a.id != MeasureProtocol([("frames", "all"), ("size", "64x65")]).id)
        var b = a
        b.add("network", "x")
        #expect(a.id != b.id)
        let measured = PeakSignalToNoise().result(FrameProtocol(count: 16))
        #expect(measured.method.text.contains("first 16"))
        #expect(measured.json["protocol_id"]?.stringValue == measured.method.id)
    }
}
