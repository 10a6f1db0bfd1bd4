/// Average precision and recall of detected boxes, by the rules of COCO (Lin et al. 2014, arXiv:1405.0312).
public struct DetectionPrecision: Sendable {
    /// A box that is there.
    public struct Target: Sendable {
        /// Where it is, in pixels.
        public var box: PixelBox
        /// What it is.
        public var category: Int
        /// Whether it is a crowd: any number of detections may lie in it, and none has to.
        public var isCrowd: Bool
        /// What decides whether it is small or large; the area of its outline where that is known.
        public var area: Double

        /// Creates a target; its area is that of the box when `nil`.
        public init(_ box: PixelBox, category: Int, isCrowd: Bool = false, area: Double? = nil) {
            self.box = box
            self.category = category
            self.isCrowd = isCrowd
            self.area = area ?? box.area
        }
    }

    /// A box that was found.
    public struct Detection: Sendable {
        /// Where it is, in pixels.
        public var box: PixelBox
        /// What it is.
        public var category: Int
        /// How sure the model is.
        public var score: Double

        /// Creates a detection.
        public init(_ box: PixelBox, category: Int, score: Double) {
            self.box = box
            self.category = category
            self.score = score
        }
    }

    /// Which targets count.
    public enum Size: String, Sendable, CaseIterable {
        case all, small, medium, large

        /// The areas in square pixels.
        var areas: ClosedRange<Double> {
            switch self {
            case .all: 0...1e10
            case .small: 0...1024
            case .medium: 1024...9216
            case .large: 9216...1e10
            }
        }
    }

    /// The overlaps from which on a box is found.
    public static let thresholds = (0..<10).map { 0.5 + (0.95 - 0.5) / 9 * Double($0) }
    /// The recalls at which precision is looked at; rounded as PyCocoTools has them.
    private static let recalls = (0..<100).map { 0.01 * Double($0) } + [1]

    private var images: [(targets: [Target], detections: [Detection])] = []

    /// A measure that has seen nothing.
    public init() {}

    /// Adds an image.
    public mutating func add(_ targets: [Target], detections: [Detection]) {
        images.append((targets, detections))
    }

    /// What is measured of one size.
    public struct Result: Sendable, Equatable {
        /// The mean precision over 101 recalls, per threshold, over the categories that have targets; `nil` if none has.
        public var precisions: [Double]?
        /// The highest recall, likewise.
        public var recalls: [Double]?

        /// The mean over all thresholds.
        public var averagePrecision: Double? { precisions.map { $0.reduce(0, +) / Double($0.count) } }
        /// The mean over all thresholds.
        public var averageRecall: Double? { recalls.map { $0.reduce(0, +) / Double($0.count) } }
    }

    /// Measures.
    ///
    /// - Parameters:
    ///   - size: which targets count.
    ///   - most: how many detections of a category count in an image, the surest first.
    public func result(_ size: Size = .all, most: Int = 100) -> Result {
        let categories = Set(images.flatMap { $0.targets.map(\.category) }).sorted()
        let curves = categories.compactMap { curve(of: $0, size, most) }
        guard !curves.isEmpty else { return Result() }
        func mean(_ values: (([Double], [Double])) -> [Double]) -> [Double] {
            Self.thresholds.indices.map { place in
                curves.reduce(0) { $0 + values($1)[place] } / Double(curves.count)
            }
        }
        return Result(precisions: mean { $0.0 }, recalls: mean { $0.1 })
    }

    /// Precision and recall of one category per threshold; `nil` without targets.
    private func curve(of category: Int, _ size: Size, _ most: Int) -> (precisions: [Double], recalls: [Double])? {
        let judged = images.map { image in
            ImageJudge(
                image.targets.filter { $0.category == category },
                image.detections.filter { $0.category == category }, size.areas, most)
        }
        let wanted = judged.reduce(0) { $0 + $1.wanted }
        guard wanted > 0 else { return nil }
        let verdicts = judged.flatMap(\.verdicts)
        let order = verdicts.indices.sorted { (-verdicts[$0].score, $0) < (-verdicts[$1].score, $1) }
        var (precisions, recalls): ([Double], [Double]) = ([], [])
        for threshold in Self.thresholds.indices {
            var points: [(recall: Double, precision: Double)] = []
            var (right, wrong) = (0, 0)
            for place in order {
                switch verdicts[place].outcomes[threshold] {
                case .right: right += 1
                case .wrong: wrong += 1
                case .ignored: break
                }
                // PyCocoTools keeps ignored detections as points, which repeat the one before.
                let precision = Double(right) / (Double(right + wrong) + 2.220446049250313e-16)
                points.append((Double(right) / Double(wanted), precision))
            }
            for place in points.indices.dropLast().reversed() {
                points[place].precision = max(points[place].precision, points[place + 1].precision)
            }
            var (sum, at) = (0.0, 0)
            for recall in Self.recalls {
                while at < points.count, points[at].recall < recall { at += 1 }
                if at < points.count { sum += points[at].precision }
            }
            precisions.append(sum / 101)
            recalls.append(points.last?.recall ?? 0)
        }
        return (precisions, recalls)
    }
}

/// What becomes of one image's detections of one category.
private struct ImageJudge {
    enum Outcome { case right, wrong, ignored }

    var verdicts: [(score: Double, outcomes: [Outcome])] = []
    /// How many targets count.
    let wanted: Int

    init(
        _ targets: [DetectionPrecision.Target], _ detections: [DetectionPrecision.Detection],
        _ areas: ClosedRange<Double>, _ most: Int
    ) {
        func isIgnored(_ target: DetectionPrecision.Target) -> Bool {
            target.isCrowd || !areas.contains(target.area)
        }
        // Those that count come first.
        let sorted = targets.filter { !isIgnored($0) } + targets.filter(isIgnored)
        let counting = targets.count { !isIgnored($0) }
        wanted = counting
        let order = detections.indices.sorted { (-detections[$0].score, $0) < (-detections[$1].score, $1) }
        let chosen = order.prefix(most).map { detections[$0] }
        let overlaps = chosen.map { detection in
            sorted.map { target in
                guard target.isCrowd else { return detection.box.overlap(with: target.box) }
                let area = detection.box.area
                return area > 0 ? detection.box.sharedArea(with: target.box) / area : 0
            }
        }
        var outcomes = chosen.map { _ in [Outcome]() }
        for threshold in DetectionPrecision.thresholds {
            var isTaken = [Bool](repeating: false, count: sorted.count)
            for (place, detection) in chosen.enumerated() {
                var (best, match) = (min(threshold, 1 - 1e-10), -1)
                for (index, target) in sorted.enumerated() {
                    if isTaken[index], !target.isCrowd { continue }
                    // One that counts is not given up for one that does not.
                    if match >= 0, match < counting, index >= counting { break }
                    if overlaps[place][index] < best { continue }
                    (best, match) = (overlaps[place][index], index)
                }
                if match >= 0 {
                    isTaken[match] = true
                    outcomes[place].append(match < counting ? .right : .ignored)
                } else {
                    outcomes[place].append(areas.contains(detection.box.area) ? .wrong : .ignored)
                }
            }
        }
        verdicts = zip(chosen, outcomes).map { ($0.score, $1) }
    }
}
