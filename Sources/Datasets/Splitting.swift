import Foundation

extension Manifest {
    /// Sets entries aside for validation by a hash of their name and caption.
    ///
    /// An entry's side depends on nothing but itself and the seed: adding entries or moving the folder changes no other.
    ///
    /// - Parameters:
    ///   - fraction: about how much goes to validation, from 0 to 1.
    ///   - seed: another seed gives another split.
    /// - Returns: the two parts, each in the manifest's order.
    /// - Throws: ``DatasetError`` with code `.invalidArgument`.
    public func split(validationFraction fraction: Double, seed: UInt64) throws -> (
        training: Manifest, validation: Manifest
    ) {
        guard fraction >= 0, fraction <= 1 else {
            throw DatasetError(.invalidArgument, "The part for validation must be from 0 to 1, not \(fraction).")
        }
        let isValidation = entries.map { entry in
            var random = CounterRandom(seed: seed, purpose: .split, stableHash(entry.identity))
            return random.unit() < fraction
        }
        return divided(isValidation)
    }

    /// Sets a fixed number of entries aside for validation, chosen by the seed; both sides keep the manifest's order.
    ///
    /// - Throws: ``DatasetError`` with code `.invalidArgument` when there are not that many.
    public func split(validationCount count: Int, seed: UInt64) throws -> (training: Manifest, validation: Manifest) {
        guard (0...entries.count).contains(count) else {
            throw DatasetError(
                .invalidArgument,
                "\(count) of the \(entries.count) entries of \(source.path) cannot be set aside for validation.")
        }
        var isValidation = [Bool](repeating: false, count: entries.count)
        for index in shuffledOrder(count: entries.count, seed: seed ^ CounterRandom.Purpose.split.rawValue, epoch: -1)
            .prefix(count)
        {
            isValidation[index] = true
        }
        return divided(isValidation)
    }

    private func divided(_ isValidation: [Bool]) -> (training: Manifest, validation: Manifest) {
        var (training, validation) = (self, self)
        training.entries = zip(entries, isValidation).filter { !$1 }.map(\.0)
        validation.entries = zip(entries, isValidation).filter { $1 }.map(\.0)
        return (training, validation)
    }
}
