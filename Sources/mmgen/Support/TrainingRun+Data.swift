import Datasets
import Foundation
import Training

extension TrainingRun {
    /// Opens a run's data, and says what was left out of them.
    func clips(_ data: DataSettings, seed: UInt64, randomCuts: Bool) throws -> ClipSplits {
        let splits = try ClipSplits(
            data, seed: seed, cacheFolder: URL(fileURLWithPath: folder.path), randomCuts: randomCuts,
            shouldStop: { Interruption.flag.isSet },
            progress: { [console] done, total in
                if done % 500 == 0 { console.note("decoded \(done) of \(total) files.") }
            })
        for sentence in splits.notes { console.note(sentence) }
        guard !splits.skipped.isEmpty else { return splits }
        for problem in splits.skipped.prefix(10) { console.note("left out: \(problem.item): \(problem.reason)") }
        let list = (folder.path as NSString).appendingPathComponent(ClipSplits.skippedName)
        console.note("\(splits.skipped.count) items cannot be used and are left out; \(list) names them.")
        return splits
    }
}
