import Checkpoints
import Evaluation
import Foundation
import JSON
import TestSupport
import Testing

@Suite("Measures of boxes") struct DetectionTests {
    private let fixture: JSONValue

    init() throws {
        fixture = try JSONValue.read(path: fixturesFolder.appendingPathComponent("detection.json").path)
    }

    private func box(_ value: JSONValue?) -> PixelBox {
        let numbers = value?.arrayValue?.compactMap(\.doubleValue) ?? []
        return PixelBox(left: numbers[0], top: numbers[1], right: numbers[2], bottom: numbers[3])
    }

    @Test("recalls of phrases are those of the peer's example", arguments: GroundingRecall.Rule.allCases)
    func grounding(_ rule: GroundingRecall.Rule) throws {
        var recall = GroundingRecall(rule: rule)
        for phrase in try #require(fixture["phrases"]?.arrayValue) {
            recall.add(
                try #require(phrase["predicted"]?.arrayValue).map(box),
                targets: try #require(phrase["targets"]?.arrayValue).map(box),
                kinds: try #require(phrase["kinds"]?.arrayValue).compactMap(\.stringValue))
        }
        let expected = try #require(fixture["grounding"]?[rule.rawValue]?.objectValue)
        #expect(recall.byKind.keys.sorted() == expected.keys.sorted())
        for (kind, values) in expected.members {
            #expect(recall.byKind[kind]?.recalls == values.arrayValue?.compactMap(\.doubleValue), "\(kind)")
        }
    }

    @Test("phrases without boxes are not counted, and merging can lose a box")
    func rules() {
        let (a, b) = (
            PixelBox(left: 0, top: 0, right: 10, bottom: 10), PixelBox(left: 50, top: 50, right: 60, bottom: 60)
        )
        for rule in GroundingRecall.Rule.allCases {
            var recall = GroundingRecall(rule: rule)
            recall.add([a], targets: [], kinds: ["other"])
            #expect(recall.byKind.isEmpty)
            recall.add([a], targets: [a, b], kinds: [])
            #expect(recall.byKind["all"]?.recalls == [Double](repeating: rule == .any ? 1 : 0, count: 4))
        }
    }

    @Test("precision and recall are PyCocoTools'")
    func precision() throws {
        let detection = try #require(fixture["detection"])
        func area(_ value: JSONValue) -> (PixelBox, Int, Int) {
            let numbers = value["bbox"]?.arrayValue?.compactMap(\.doubleValue) ?? []
            let box = PixelBox(
                left: numbers[0], top: numbers[1], right: numbers[0] + numbers[2], bottom: numbers[1] + numbers[3])
            return (box, value["image_id"]?.integerValue ?? 0, value["category_id"]?.integerValue ?? 0)
        }
        var targets: [Int: [DetectionPrecision.Target]] = [:]
        for value in try #require(detection["annotations"]?.arrayValue) {
            let (box, image, category) = area(value)
            targets[image, default: []].append(
                .init(
                    box, category: category, isCrowd: value["iscrowd"]?.integerValue == 1,
                    area: value["area"]?.doubleValue))
        }
        var found: [Int: [DetectionPrecision.Detection]] = [:]
        for value in try #require(detection["results"]?.arrayValue) {
            let (box, image, category) = area(value)
            found[image, default: []].append(
                .init(box, category: category, score: try #require(value["score"]?.doubleValue)))
        }
        var measure = DetectionPrecision()
        for image in 1...6 { measure.add(targets[image] ?? [], detections: found[image] ?? []) }
        let all = measure.result()
        let values: [String: Double?] = [
            "AP": all.averagePrecision, "AP50": all.precisions?[0], "AP75": all.precisions?[5],
            "AR1": measure.result(most: 1).averageRecall, "AR10": measure.result(most: 10).averageRecall,
            "AR100": all.averageRecall, "APsmall": measure.result(.small).averagePrecision,
            "APmedium": measure.result(.medium).averagePrecision, "APlarge": measure.result(.large).averagePrecision,
            "ARsmall": measure.result(.small).averageRecall, "ARmedium": measure.result(.medium).averageRecall,
            "ARlarge": measure.result(.large).averageRecall,
        ]
        let expected = try #require(detection["summary"]?.objectValue)
        #expect(expected.keys.count == 12)
        for (name, value) in expected.members {
            let wanted = try #require(value.doubleValue)
            #expect(abs(((values[name] ?? nil) ?? -1) - wanted) < 1e-9, "\(name)")
        }
    }
}
