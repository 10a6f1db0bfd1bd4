import Foundation
import JSON

/// A run as one HTML page that needs no other file and no network.
public struct RunPage {
    private let run: RunRecord
    private let pictureCount: Int

    /// A page.
    ///
    /// - Parameters:
    ///   - run: what the run has left.
    ///   - pictureCount: how many of its pictures to include, at least 1; evenly spread, the last among them.
    public init(_ run: RunRecord, pictureCount: Int = 12) {
        precondition(pictureCount > 0, "RunPage: \(pictureCount) pictures")
        self.run = run
        self.pictureCount = pictureCount
    }

    /// The page.
    ///
    /// - Throws: ``ReportError`` with code `.damaged` when a picture cannot be read.
    public func html() throws -> String {
        let name = (run.path as NSString).standardizingPath.split(separator: "/").last.map(String.init) ?? run.path
        return """
            <!DOCTYPE html>
            <html lang="en"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta http-equiv="Content-Security-Policy" \
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
            <title>\(escaped(name))</title><style>\(PageStyle.css)</style></head><body>
            <header><h1>\(escaped(name))</h1><p>\(headline)</p></header>
            \(section("Curves", charts))\(section("Pictures", try pictures))\(section("Time and memory", timing))\(section("Where it ran", machines))\
            \(section("Recipe", table(flattened(.object(run.config)))))
            <script>\(PageStyle.script)</script></body></html>

            """
    }

    private func section(_ title: String, _ content: String) -> String {
        content.isEmpty ? "" : "<section><h2>\(title)</h2>\n\(content)</section>\n"
    }

    /// Where the run stands, in one sentence.
    private var headline: String {
        var parts: [String] = []
        if let model = run.config["model"]?.stringValue { parts.append(escaped(model)) }
        let total = run.stepCount.map { " of \($0)" } ?? ""
        parts.append("step \(run.lastStep)\(total)" + (run.hasModel ? ", finished" : ""))
        if run.skippedSteps > 0 { parts.append("\(run.skippedSteps) steps skipped") }
        if let last = run.checkpoints.last { parts.append("newest checkpoint: step \(last)") }
        if let seed = run.config["training"]?["seed"] { parts.append("seed \(escaped(seed.serialized()))") }
        return parts.joined(separator: " · ")
    }

    // MARK: - Curves

    private var charts: String {
        guard !run.series.isEmpty else { return "<p>Nothing was logged yet.</p>" }
        let legend =
            "<p class=\"legend\"><span class=\"line\">trained on, mean of neighbours</span> "
            + "<span class=\"raw\">each logged step</span> <span class=\"held\">held out</span></p>"
        return legend + grid(run.series)
    }

    private var timing: String { run.timing.isEmpty ? "" : grid(run.timing) }

    /// A chart for every name.
    private func grid(_ series: [MetricSeries]) -> String {
        var names: [String] = []
        for series in series where !names.contains(series.name) { names.append(series.name) }
        let figures = names.compactMap { name in
            Chart(
                name: name, training: series.first { $0.name == name && $0.origin == .training },
                evaluation: series.first { $0.name == name && $0.origin == .evaluation }, lastStep: max(run.lastStep, 1)
            ).html()
        }
        return "<div class=\"charts\">\n" + figures.joined() + "</div>\n"
    }

    // MARK: - Pictures

    private var pictures: String {
        get throws {
            let chosen = Self.spread(run.pictures, count: pictureCount)
            guard let last = chosen.last else { return "" }
            let figures = try chosen.map { picture in
                guard let data = FileManager.default.contents(atPath: picture.path) else {
                    throw ReportError(.damaged, "The picture \(picture.path) cannot be read.")
                }
                return """
                    <figure class="picture"><figcaption>step \(picture.step)</figcaption>\
                    <img alt="what the model did at step \(picture.step)" \
                    src="data:image/png;base64,\(data.base64EncodedString())"></figure>

                    """
            }
            let slider = """
                <label class="slider" hidden>step <output>\(last.step)</output> \
                <input type="range" min="0" max="\(chosen.count - 1)" value="\(chosen.count - 1)"></label>

                """
            let left = run.pictures.count - chosen.count
            let note = left > 0 ? "<p>\(left) more pictures are in the run's folder.</p>\n" : ""
            return "<div class=\"pictures\">\n" + slider + figures.joined() + "</div>\n" + note
        }
    }

    /// Some of the elements, evenly spread, the last among them.
    static func spread<Element>(_ elements: [Element], count: Int) -> [Element] {
        guard elements.count > count else { return elements }
        guard count > 1 else { return elements.suffix(1) }
        return (0..<count).map { elements[$0 * (elements.count - 1) / (count - 1)] }
    }

    // MARK: - Tables

    private var machines: String {
        run.sessions.map { session in
            table(session.members.map { ($0.key.replacing("_", with: " "), plain($0.value)) })
        }.joined()
    }

    private func table(_ rows: [(String, String)]) -> String {
        guard !rows.isEmpty else { return "" }
        let lines = rows.map { "<tr><th>\(escaped($0.0))</th><td>\(escaped($0.1))</td></tr>" }
        return "<table>\n" + lines.joined(separator: "\n") + "\n</table>\n"
    }

    /// Every leaf of a document under its dotted key, as `--set` takes it.
    private func flattened(_ value: JSONValue, _ key: String = "") -> [(String, String)] {
        guard let object = value.objectValue, !object.isEmpty else { return key.isEmpty ? [] : [(key, plain(value))] }
        return object.members.flatMap { flattened($0.value, key.isEmpty ? $0.key : key + "." + $0.key) }
    }

    private func plain(_ value: JSONValue) -> String { value.stringValue ?? value.serialized() }
}
