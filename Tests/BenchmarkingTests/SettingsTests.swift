import Generation
import Tensors
import Testing

@testable import Benchmarking

@Suite struct SettingsTests {
    @Test("a list is read in the order it is written")
    func lists() throws {
        #expect(try listed("8,1,32", "--batch", allowed: "whole numbers") { Int($0) } == [8, 1, 32])
        #expect(
            try listed("int4,f32,bf16", "--weights", allowed: "kinds") { WeightPrecision(label: $0) }
                == [.int4, .float32, .bfloat16])
        #expect(
            try listed("auto,1,48", "--window", allowed: "auto or numbers") { DecodingWindow(label: $0) }
                == [.automatic, .positions(1), .positions(48)])
    }

    @Test(
        "a list with a gap, a word that is no value or a value twice is refused in a sentence that names it",
        arguments: [
            ("", "gap"), ("1,,2", "gap"), ("1,", "gap"), ("1,two", "not 'two'"), ("1;2", "not '1;2'"),
            ("4,1,4", "has '4' twice"),
        ])
    func wrongLists(_ text: String, _ part: String) {
        let error = #expect(throws: BenchmarkError.self) {
            try listed(text, "--batch", allowed: "whole numbers") { Int($0) }
        }
        #expect(error?.code == .invalidSetting)
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        #expect(error?.message.hasPrefix("--batch ") == true)
    }

    @Test("labels of precisions and windows read back as what they stand for")
    func labels() {
        for precision in WeightPrecision.allCases { #expect(WeightPrecision(label: precision.label) == precision) }
        for window in [DecodingWindow.automatic, .positions(1), .positions(4096)] {
            #expect(DecodingWindow(label: window.label) == window)
        }
        for type in CacheType.allCases { #expect(CacheType(label: type.label) == type) }
        #expect(DecodingWindow(label: "0") == nil)
        #expect(WeightPrecision(label: "f64") == nil)
    }

    @Test("settings outside their range are refused")
    func ranges() throws {
        try BenchmarkSettings().validate()
        let wrong: [(inout BenchmarkSettings) -> Void] = [
            { $0.stages = [] }, { $0.weights = [] }, { $0.caches = [] }, { $0.batches = [0] },
            { $0.windows = [.positions(0)] }, { $0.threads = [0] }, { $0.depths = [0] }, { $0.depths = [] },
            { $0.repetitions = 0 }, { $0.shortest = .infinity }, { $0.clip = [16, 64] }, { $0.clip = [16, 0, 64] },
        ]
        for (index, change) in wrong.enumerated() {
            var settings = BenchmarkSettings()
            change(&settings)
            #expect(throws: BenchmarkError.self, "case \(index)") { try settings.validate() }
        }
    }
}
