import Foundation
import NeuralNets
import Tensors

/// What a run would be like, from its first steps; nothing of it was written.
public struct DryRun {
    /// Of the model, those included that are not trained.
    public var parameters = 0
    /// Clips that are learned from, and measured on.
    public var items = 0
    public var heldOut = 0
    /// What the first step reported.
    public var metrics: Metrics = []
    /// Wall-clock seconds of a step: the second one's, unless the first took long.
    public var secondsPerStep = 0.0
    /// Seconds of all steps, evaluations and checkpoints left out.
    public var secondsInAll = 0.0
    /// The most memory that the process had in use, in bytes; `nil` where the system does not say.
    public var peakBytes: Int?
    /// The size of a checkpoint, and how many there are at most at one time.
    public var checkpointBytes = 0
    public var checkpoints = 0
    /// The size of the finished model's weights.
    public var modelBytes = 0
    /// What can still be written where the run's folder will be; `nil` where the system does not say.
    public var freeBytes: Int?

    /// What the run keeps on the disk at most, but for decoded frames, pictures and logs.
    public var bytesInAll: Int { checkpointBytes * checkpoints + modelBytes }
}

extension Trainer {
    /// Makes the first step, writes nothing, and says what a run would be like.
    ///
    /// - Throws: as ``run(resumes:)``; a loss that is no finite number is an error here whatever the settings say.
    public func dryRun() throws -> DryRun {
        try checkTask()
        var result = DryRun()
        result.parameters = task.module.parameterCount
        (result.items, result.heldOut) = (task.itemCount, task.heldOutCount)
        let loader = passes.loader(from: 0)
        // The first step pays for threads and memory that later ones find ready.
        for step in 0..<min(2, settings.steps) where step == 0 || result.secondsPerStep < 10 {
            let (metrics, problem) = try clock.step { try computeStep(step, loader, &$0) }
            if let problem { throw problem.error("nothing was written") }
            if step == 0 { result.metrics = metrics }
            result.secondsPerStep = clock.pace(items: settings.batchSize, stepsLeft: 0).secondsPerStep
        }
        result.secondsInAll = result.secondsPerStep * Double(settings.steps)
        result.peakBytes = MachineMemory.peakByteCount
        let parts = try savedParts().whole
        result.checkpointBytes = RunFolder.byteCount(Array(parts.values))
        // A new one is written before an old one goes.
        result.checkpoints = settings.keepCheckpoints + 1 + (settings.retainsBest ? 1 : 0)
        result.modelBytes = RunFolder.byteCount([parts["model"] ?? [:]])
        var place = URL(fileURLWithPath: folder.path)
        while place.path != "/", !FileManager.default.fileExists(atPath: place.path) { place.deleteLastPathComponent() }
        result.freeBytes = folder.layer.freeByteCount(place.path)
        return result
    }
}
