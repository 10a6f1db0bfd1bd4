import Foundation

extension WeightedAnswer {
    /// An answer as a model's list has it: in lower case, with single spaces between its words.
    public static func compared(_ text: String) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// How right a guess is, 0...1: VQA's accuracy of ten people (Antol et al. 2015, arXiv:1505.00468).
    ///
    /// A guess has a third for each of the other nine who gave it, and 1 at the most, in the mean over who is left out: 0.3 for
    /// one of ten, 0.6 for two, 0.9 for three, 1 for more. Three times the share of people says just that, and also serves
    /// where there were not ten. Articles, punctuation, number words and missing apostrophes make no difference.
    ///
    /// - Parameter answers: with the shares of people as weights.
    public static func credit(of guess: String, among answers: [WeightedAnswer]) -> Double {
        let guess = AnswerWords.normalized(guess)
        let share = answers.filter { AnswerWords.normalized($0.text) == guess }.reduce(0) { $0 + $1.weight }
        return min(1, 3 * share)
    }
}

extension UnderstandingDataset {
    /// What is learned from, and what is measured on.
    ///
    /// The field `split` decides where some sample's is `train` (the other part is `validation`, `val` or `valid`);
    /// otherwise a share of the files is set aside by a hash of their names, so that all samples of a file are on one side.
    ///
    /// - Parameters:
    ///   - share: about how much is set aside, from 0 to 1.
    ///   - seed: another seed gives another split.
    public func split(
        validationShare share: Double, seed: UInt64
    ) -> (training: [UnderstandingSample], validation: [UnderstandingSample]) {
        let names = Set(samples.compactMap { $0.fields["split"] })
        if names.contains("train") {
            let held = ["validation", "val", "valid"].first(where: names.contains)
            return (
                samples.filter { $0.fields["split"] == "train" },
                samples.filter { held != nil && $0.fields["split"] == held }
            )
        }
        let folder = source.deletingLastPathComponent().path + "/"
        let isHeld = samples.map { sample in
            let path = sample.file.path
            let name = path.hasPrefix(folder) ? String(path.dropFirst(folder.count)) : sample.file.lastPathComponent
            return Manifest.place(name, seed: seed) < share
        }
        return (
            zip(samples, isHeld).filter { !$1 }.map(\.0), zip(samples, isHeld).filter { $1 }.map(\.0)
        )
    }
}
