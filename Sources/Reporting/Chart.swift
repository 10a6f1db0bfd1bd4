import Foundation

/// A drawing of one metric over the steps, as SVG: what was trained on as a line with its running mean, what was held out as
/// dots.
struct Chart {
    let name: String
    let training: MetricSeries?
    let evaluation: MetricSeries?
    /// The last step of the axis.
    let lastStep: Int

    private static let (width, height) = (460.0, 240.0)
    private static let (left, right, top, bottom) = (58.0, 22.0, 10.0, 26.0)

    private var points: [MetricSeries.Point] { (training?.points ?? []) + (evaluation?.points ?? []) }

    /// Whether the values go over a range that only a logarithm makes readable.
    private var isLogarithmic: Bool {
        let values = points.map(\.value)
        guard let low = values.min(), let high = values.max() else { return false }
        return low > 0 && high / low > 30
    }

    /// The figure; `nil` when there is no value to draw.
    func html() -> String? {
        guard let low = points.map(\.value).min(), let high = points.map(\.value).max() else { return nil }
        let scale = Scale(low: low, high: high, isLogarithmic: isLogarithmic)
        let raw = MetricSeries.thinned(training?.points ?? [], to: 600)
        var drawing = axes(scale)
        if let training {
            drawing += path(raw, scale, className: training.points.count > 60 ? "raw" : "line")
            if raw.count < 10 { drawing += dots(raw, scale, className: "line") }
            if training.points.count > 60 {
                drawing += path(MetricSeries.thinned(training.smoothed, to: 400), scale, className: "line")
            }
        }
        if let evaluation {
            drawing += path(evaluation.points, scale, className: "held")
            drawing += dots(evaluation.points, scale, className: "held")
        }
        return """
            <figure class="chart" data-train="\(data(raw))" data-held="\(data(evaluation?.points ?? []))" \
            data-left="\(Self.left)" data-span="\(Self.width - Self.left - Self.right)" data-steps="\(lastStep)">
            <figcaption><b>\(escaped(name))</b> \(summary)\(scale.isLogarithmic ? " <i>logarithmic</i>" : "")</figcaption>
            <svg viewBox="0 0 \(Self.width) \(Self.height)" role="img" aria-label="\(escaped(name)) over the steps">
            \(drawing)<line class="cursor" y1="\(Self.top)" y2="\(Self.height - Self.bottom)" x1="-9" x2="-9"/></svg>
            <output></output></figure>

            """
    }

    /// The newest values in words.
    private var summary: String {
        var parts: [String] = []
        if let recent = training?.recent { parts.append("latest \(number(recent))") }
        if let last = evaluation?.points.last { parts.append("held out \(number(last.value))") }
        let omitted = (training?.omitted ?? 0) + (evaluation?.omitted ?? 0)
        if omitted > 0 { parts.append("\(omitted) not finite") }
        return parts.joined(separator: ", ")
    }

    private func axes(_ scale: Scale) -> String {
        var result = ""
        for value in scale.ticks {
            let place = y(value, scale)
            result +=
                "<line class=\"grid\" x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(place)\" y2=\"\(place)\"/>"
                + "<text x=\"\(Self.left - 6)\" y=\"\(place)\" dy=\"0.35em\" text-anchor=\"end\">\(number(value))</text>"
        }
        for step in Scale.niceTicks(0, Double(max(lastStep, 1)), count: 5) {
            result +=
                "<text x=\"\(x(Int(step)))\" y=\"\(Self.height - 8)\" text-anchor=\"middle\">\(number(step))</text>"
        }
        return result
    }

    private func path(_ points: [MetricSeries.Point], _ scale: Scale, className: String) -> String {
        guard points.count > 1 else { return "" }
        let corners = points.map { "\(x($0.step)),\(y($0.value, scale))" }.joined(separator: " ")
        return "<polyline class=\"\(className)\" points=\"\(corners)\"/>"
    }

    private func dots(_ points: [MetricSeries.Point], _ scale: Scale, className: String) -> String {
        points.map {
            "<circle class=\"\(className)\" cx=\"\(x($0.step))\" cy=\"\(y($0.value, scale))\" r=\"2.6\"/>"
        }.joined()
    }

    private func x(_ step: Int) -> String {
        let span = Self.width - Self.left - Self.right
        return decimals(Self.left + span * Double(step) / Double(max(lastStep, 1)))
    }

    private func y(_ value: Double, _ scale: Scale) -> String {
        let span = Self.height - Self.top - Self.bottom
        return decimals(Self.height - Self.bottom - span * scale.position(of: value))
    }

    private func decimals(_ value: Double) -> String { String(format: "%.1f", value) }

    /// Steps and values for whoever points at the chart.
    private func data(_ points: [MetricSeries.Point]) -> String {
        points.map { "\($0.step):\(number($0.value))" }.joined(separator: " ")
    }
}

/// The range of a chart's values.
struct Scale {
    let low: Double
    let high: Double
    let isLogarithmic: Bool

    init(low: Double, high: Double, isLogarithmic: Bool) {
        self.isLogarithmic = isLogarithmic
        let margin = low == high ? max(abs(low) * 0.1, 1e-9) : isLogarithmic ? 0 : (high - low) * 0.04
        (self.low, self.high) = (low - margin, high + margin)
    }

    /// Where a value stands between the bottom, 0, and the top, 1.
    func position(of value: Double) -> Double {
        isLogarithmic
            ? log(value / low) / log(high / low)
            : (value - low) / (high - low)
    }

    /// Values to mark.
    var ticks: [Double] {
        guard isLogarithmic else { return Self.niceTicks(low, high, count: 5) }
        let exponents = Int(log10(low).rounded(.down))...Int(log10(high).rounded(.up))
        let steps: [Double] = exponents.count > 4 ? [1] : [1, 2, 5]
        return exponents.flatMap { exponent in steps.map { $0 * pow(10, Double(exponent)) } }
            .filter { (low...high).contains($0) }
    }

    /// Round numbers in a range: about `count` of them.
    static func niceTicks(_ low: Double, _ high: Double, count: Int) -> [Double] {
        guard high > low else { return [low] }
        let rough = (high - low) / Double(count)
        let power = pow(10, log10(rough).rounded(.down))
        let step = power * ([1, 2, 5, 10].first { $0 * power >= rough } ?? 10)
        let first = (low / step).rounded(.up), last = (high / step).rounded(.down)
        guard first <= last else { return [] }
        return stride(from: first, through: last, by: 1).map { $0 * step }
    }
}

/// A number in few digits.
func number(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e7 ? String(Int(value)) : String(format: "%.4g", value)
}

/// Text as HTML shows it, in content and in quoted attributes.
func escaped(_ text: String) -> String {
    var result = ""
    for character in text.unicodeScalars {
        switch character {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        case "'": result += "&#39;"
        default: result.unicodeScalars.append(character)
        }
    }
    return result
}
