import Foundation
import Testing

/// "wide16" stands in for "avx512vnni" on processors without it, which holds only while both compile the same source.
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
        let expected = try macros("kernels_avx512vnni.c")
        #expect(expected.contains("#define MM_LANES 16") && expected.count == 5)
        #expect(try macros("kernels_wide16.c") == expected)
        // Without the products of small integers, which then are those of AVX2.
        #expect(try macros("kernels_avx512.c") == expected.filter { !$0.contains("VNNI") })
    }

    @Test("no kernel names an instruction of AVX-512 but the two that the stand-in spells out")
    func noInstructions() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
            .filter { $0.hasSuffix(".c") || $0.hasSuffix(".h") }
        #expect(names.count > 20)
        // 512-bit vectors, masks, and products that came with AVX-512.
        let wide = ["_mm512", "__m512", "__mmask", "_mm_mask", "_mm256_mask", "dpbf16"]
        for name in names {
            let text = try text(name)
            for word in wide { #expect(!text.contains(word), "\(name): \(word)") }
            guard !["integer_dots.inl.h", "kernels_wide16.c"].contains(name) else { continue }
            for word in ["dpbusd", "dpwssd"] { #expect(!text.contains(word), "\(name): \(word)") }
        }
    }
}
