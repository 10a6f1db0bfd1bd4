import Foundation
import Testing

/// "wide16" stands in for "avx512bf16" on processors without it, which holds only while both compile the same source.
@Suite struct WideVariantTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Sources/CKernels")

    private func text(_ name: String) throws -> String {
        try String(contentsOf: Self.folder.appendingPathComponent(name), encoding: .utf8)
    }

    /// What a variant defines, but for its name.
    private func macros(_ name: String) throws -> [String] {
        try text(name).split(separator: "\n").map(String.init)
            .filter { $0.hasPrefix("#define MM_") && !$0.hasPrefix("#define MM_VARIANT") }
    }

    @Test("the stand-in for AVX-512 is compiled from the same lines")
    func sameMacros() throws {
        let expected = try macros("kernels_avx512bf16.c")
        #expect(expected.contains("#define MM_LANES 16") && expected.count == 6)
        #expect(try macros("kernels_wide16.c") == expected)
        // Without products of pairs, which then are those of floats, and of small integers, which then are those of AVX2.
        let withoutPairs = expected.filter { !$0.contains("BF16") }
        #expect(try macros("kernels_avx512vnni.c") == withoutPairs)
        #expect(try macros("kernels_avx512.c") == withoutPairs.filter { !$0.contains("VNNI") })
    }

    @Test("no kernel names an instruction of AVX-512 but the three that the stand-in spells out")
    func noInstructions() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            .filter { $0.hasSuffix(".c") || $0.hasSuffix(".h") }
        #expect(names.count > 20)
        // 512-bit vectors, masks, and products that came with AVX-512.
        let words = ["_mm512", "__m512", "__mmask", "_mm_mask", "_mm256_mask", "dpbusd", "dpwssd"]
        let own = [
            "integer_dots.inl.h": ["dpbusd", "dpwssd"], "bf16_dots.inl.h": ["_mm512", "__m512"],
            "emulated.inl.h": ["_mm512", "__m512", "dpbusd", "dpwssd"],
        ]
        for name in names {
            let text = try text(name)
            let named = words.filter(text.contains)
            #expect(named == words.filter((own[name] ?? []).contains), "\(name)")
        }
        #expect(try text("bf16_dots.inl.h").split(separator: "_mm512_").count == 2)
    }
}
