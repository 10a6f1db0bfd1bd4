import Foundation
import JSON
import Testing

@testable import Reporting

/// A run's folder made of text.
private struct Folder: ~Copyable {
    let path = NSTemporaryDirectory() + "report-" + UUID().uuidString

    init(_ files: [String: Data]) throws {
        for (name, content) in files {
            let url = URL(fileURLWithPath: path).appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try content.write(to: url)
        }
    }

    init(config: String = #"{"model": "m", "training": {"steps": 100, "seed": 7}}"#, metrics: String) throws {
        try self.init(["config.json": Data(config.utf8), "metrics.jsonl": Data(metrics.utf8)])
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

@Suite("Report of a run")
struct RunPageTests {
    @Test("every metric is one series of its origin, in the log's order; values that are not finite are counted")
    func series() throws {
        let folder = try Folder(
            metrics: """
                {"kind":"train","step":1,"loss":2.5,"rate":0.1}
                {"kind":"train","step":2,"loss":"nan","rate":0.2}
                {"kind":"evaluation","step":2,"loss":3}
                {"kind":"train","step":3,"loss":1.5,"rate":0.3}

                """)
        let run = try RunRecord(folder: folder.path)
        #expect(run.series.map(\.name) == ["loss", "rate", "loss"])
        #expect(run.series.map(\.origin) == [.training, .training, .evaluation])
        #expect(run.series[0].points == [.init(step: 1, value: 2.5), .init(step: 3, value: 1.5)])
        #expect(run.series[0].omitted == 1)
        #expect(run.lastStep == 3 && run.stepCount == 100 && !run.hasModel)
    }

    @Test("a last line that is being written is left out; a broken line before it is named")
    func brokenLines() throws {
        let whole = #"{"kind":"train","step":1,"loss":2}"# + "\n"
        let growing = try Folder(metrics: whole + #"{"kind":"train","st"#)
        #expect(try RunRecord(folder: growing.path).lastStep == 1)
        let broken = try Folder(metrics: "{oops\n" + whole)
        let error = #expect(throws: ReportError.self) { try RunRecord(folder: broken.path) }
        #expect(error?.code == .damaged)
        #expect(error?.message.contains("Line 1 of") == true, "\(error?.message ?? "")")
        let none = #expect(throws: ReportError.self) { try RunRecord(folder: "/nowhere") }
        #expect(none?.code == .noRun)
    }

    @Test("the page is whole by itself and what stands in the run's files cannot become markup")
    func escaping() throws {
        let picture = Data([137, 80, 78, 71, 1, 2, 3])
        let folder = try Folder([
            "config.json": Data(##"{"model": "<b>\"x\"&'", "training": {"steps": 9, "seed": 7}}"##.utf8),
            "metrics.jsonl": Data(#"{"kind":"train","step":4,"<script>alert(1)</script>":2}"#.utf8 + [10]),
            "samples/step-00000004.png": picture,
            "sessions.jsonl": Data(##"{"processor":"A <i>fast</i> one"}"##.utf8 + [10]),
        ])
        let html = try RunPage(RunRecord(folder: folder.path)).html()
        #expect(!html.contains("<script>alert") && html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"))
        #expect(!html.contains("<b>\"x\"") && html.contains("&lt;b&gt;&quot;x&quot;&amp;&#39;"))
        #expect(html.contains("A &lt;i&gt;fast&lt;/i&gt; one"))
        #expect(html.contains("data:image/png;base64," + picture.base64EncodedString()))
        #expect(html.contains("step 4 of 9") && html.contains("seed 7"))
        // Nothing is fetched from anywhere.
        for way in ["src=\"http", "href=", "url(", "@import", "fetch("] { #expect(!html.contains(way), "\(way)") }
    }

    @Test(
        "a single value is a dot; what steps took is drawn too, whatever became of its lines; skipped steps are counted"
    )
    func fewValues() throws {
        let folder = try Folder([
            "config.json": Data("{}".utf8),
            "metrics.jsonl": Data(
                (#"{"kind":"train","step":5,"loss":2}"# + "\n" + #"{"kind":"skipped","step":6,"total":3,"in_row":1}"#
                    + "\n")
                    .utf8),
            "timing.jsonl": Data(
                ##"{"step":5,"time":1.5,"seconds_per_step":0.25,"peak_bytes":281234567}"##.utf8 + [10]
                    + Data("{\"st\n".utf8)),
        ])
        let run = try RunRecord(folder: folder.path)
        #expect(run.timing.map(\.name) == ["seconds_per_step", "peak_megabytes"])
        #expect(run.timing.map(\.points) == [[.init(step: 5, value: 0.25)], [.init(step: 5, value: 281.2)]])
        let html = try RunPage(run).html()
        #expect(html.components(separatedBy: "<circle class=\"line\"").count == 4)
        #expect(html.contains("3 steps skipped") && html.contains("latest 281.2"))
    }

    @Test("a run that has logged nothing yet has a page that says so")
    func empty() throws {
        let folder = try Folder(["config.json": Data("{}".utf8)])
        let html = try RunPage(RunRecord(folder: folder.path)).html()
        #expect(html.contains("Nothing was logged yet.") && html.contains("step 0"))
    }

    @Test("of many pictures some are shown, evenly spread, the first and the last among them")
    func spread() {
        #expect(RunPage.spread(Array(1...10), count: 4) == [1, 4, 7, 10])
        #expect(RunPage.spread(Array(1...3), count: 4) == [1, 2, 3])
        #expect(RunPage.spread(Array(1...10), count: 1) == [10])
        for (count, wanted) in [(5, 2), (100, 12), (13, 12)] {
            #expect(Set(RunPage.spread(Array(0..<count), count: wanted)).count == wanted)
        }
    }
}

@Suite("Curves")
struct CurveTests {
    private func series(_ values: [Double]) throws -> MetricSeries {
        let lines: [JSONObject] = values.enumerated().map {
            ["kind": "train", "step": .integer($0.offset), "loss": .number($0.element)]
        }
        return try #require(MetricSeries.collected(lines).first)
    }

    @Test("thinning keeps the spikes and the order of steps")
    func thinning() throws {
        var values = (0..<5000).map { sin(Double($0) / 300) }
        (values[1234], values[4321]) = (9, -9)
        let thin = MetricSeries.thinned(try series(values).points, to: 200)
        #expect(thin.count <= 200)
        #expect(
            thin.contains { $0.step == 1234 && $0.value == 9 } && thin.contains { $0.step == 4321 && $0.value == -9 })
        #expect(zip(thin, thin.dropFirst()).allSatisfy { $0.step < $1.step })
    }

    @Test("the mean of neighbours leaves a straight line where it is, and a constant")
    func smoothing() throws {
        let line = try series((0..<1000).map { 3 - Double($0) / 500 })
        for (smooth, exact) in zip(line.smoothed, line.points) { #expect(abs(smooth.value - exact.value) < 1e-12) }
        let noisy = try series((0..<1000).map { $0 % 2 == 0 ? 1 : 3 })
        for point in noisy.smoothed[20..<980] { #expect(abs(point.value - 2) < 0.06) }
        #expect(try #require(noisy.recent) == 2)
    }

    @Test("marks are round numbers inside the range, on both kinds of scale")
    func ticks() {
        #expect(Scale.niceTicks(0, 2500, count: 5) == [0, 500, 1000, 1500, 2000, 2500])
        #expect(Scale.niceTicks(0.13, 0.47, count: 5).map { ($0 * 10).rounded() } == [2, 3, 4])
        #expect(Scale(low: 0.009, high: 30, isLogarithmic: true).ticks == [0.01, 0.1, 1, 10])
        for (low, high) in [(1.0, 1.0), (-3, -3), (0, 0), (1e-9, 1e9), (-5, 7)] {
            let scale = Scale(low: low, high: high, isLogarithmic: false)
            #expect(scale.ticks.allSatisfy { (scale.low...scale.high).contains($0) })
            #expect((0...1).contains(scale.position(of: low)) && (0...1).contains(scale.position(of: high)))
        }
    }
}
