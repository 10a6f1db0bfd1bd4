import Foundation

extension UnderstandingDataset {
    /// The samples that are learned from and those that are measured on.
    ///
    /// Splits named `train` and `validation` (or `val`, `valid`) are used; where none is named `train`, a share is held out by
    /// a hash of each sample's file and caption, so that a sample's side depends on nothing but itself and the seed.
    ///
    /// - Parameters:
    ///   - share: about how much is held out, from 0 to 1.
    ///   - limit: the most held-out samples.
    ///   - seed: another seed gives another split.
    public func splits(
        validationShare share: Double, limit: Int, seed: UInt64
    ) -> (training: [UnderstandingSample], validation: [UnderstandingSample]) {
        let names = Set(samples.compactMap { $0.fields["split"] })
        let (training, held): ([UnderstandingSample], [UnderstandingSample])
        if names.contains("train") {
            let name = ["validation", "val", "valid"].first(where: names.contains)
            training = samples.filter { $0.fields["split"] == "train" }
            held = name.map { name in samples.filter { $0.fields["split"] == name } } ?? []
        } else {
            func isHeld(_ sample: UnderstandingSample) -> Bool {
                let identity = "\(sample.file.lastPathComponent)\t\(sample.captions.first ?? "")"
                return Manifest.place(identity, seed: seed) < share
            }
            (training, held) = (samples.filter { !isHeld($0) }, samples.filter(isHeld))
        }
        return (training, Array(held.prefix(limit)))
    }
}
