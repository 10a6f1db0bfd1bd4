import JSON

/// The values of one metric over the steps of a run.
public struct MetricSeries: Sendable, Equatable {
    /// A value after a step.
    public struct Point: Sendable, Equatable {
        /// The step.
        public let step: Int
        /// The value; finite.
        public let value: Double
    }

    /// Where a value was measured.
    public enum Origin: String, Sendable {
        /// On the items of a training step.
        case training = "train"
        /// On held-out items.
        case evaluation
    }

    /// The metric's name.
    public let name: String
    /// Where it was measured.
    public let origin: Origin
    /// The values, in the log's order; those that are not finite are left out.
    public private(set) var points: [Point] = []
    /// How many values were not finite.
    public private(set) var omitted = 0

    /// The series of the lines of a log.
    static func collected(_ lines: [JSONObject]) -> [MetricSeries] {
        var order: [String: Int] = [:]
        var result: [MetricSeries] = []
        for line in lines {
            guard let step = line["step"]?.integerValue, let kind = line["kind"]?.stringValue,
                let origin = Origin(rawValue: kind)
            else { continue }
            for (name, value) in line.members where name != "step" && name != "kind" {
                let key = kind + " " + name
                let index = order[key] ?? result.count
                if index == result.count {
                    order[key] = index
                    result.append(MetricSeries(name: name, origin: origin))
                }
                if let number = value.doubleValue, number.isFinite {
                    result[index].points.append(Point(step: step, value: number))
                } else {
                    result[index].omitted += 1
                }
            }
        }
        return result
    }

    private init(name: String, origin: Origin) {
        self.name = name
        self.origin = origin
    }

    /// Points for a picture: of every bucket of steps the lowest and the highest, so that no spike is lost.
    ///
    /// - Parameter limit: about how many points at most.
    static func thinned(_ points: [Point], to limit: Int) -> [Point] {
        guard points.count > limit else { return points }
        let buckets = limit / 2
        return (0..<buckets).flatMap { bucket -> [Point] in
            let part = points[bucket * points.count / buckets..<(bucket + 1) * points.count / buckets]
            guard let low = part.min(by: { $0.value < $1.value }), let high = part.max(by: { $0.value < $1.value })
            else { return [] }
            return low.step == high.step ? [low] : low.step < high.step ? [low, high] : [high, low]
        }
    }

    /// The mean over each point's neighbours, about a fiftieth of all, fewer towards the ends: as many on either side, so
    /// that the line does not lag behind.
    var smoothed: [Point] {
        let reach = points.count / 100
        var sums = [0.0]
        for point in points { sums.append((sums.last ?? 0) + point.value) }
        return points.indices.map { index in
            let near = min(reach, index, points.count - 1 - index)
            let sum = sums[index + near + 1] - sums[index - near]
            return Point(step: points[index].step, value: sum / Double(2 * near + 1))
        }
    }

    /// The mean of the newest fiftieth of the values; `nil` when there are none.
    var recent: Double? {
        let newest = points.suffix(max(1, points.count / 50)).map(\.value)
        return newest.isEmpty ? nil : newest.reduce(0, +) / Double(newest.count)
    }
}
