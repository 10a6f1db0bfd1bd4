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
        var (training, validation) = (self, self)
        training.entries.removeAll { Self.place($0.identity, seed: seed) < fraction }
        validation.entries.removeAll { Self.place($0.identity, seed: seed) >= fraction }
        return (training, validation)
    }

    /// Where a text falls between 0 and 1: a hash of it and the seed, the same on every machine and for ever.
    ///
    /// FNV-1a, stirred with the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
    public static func place(_ text: String, seed: UInt64) -> Double {
        let step: UInt64 = 0x9E37_79B9_7F4A_7C15
        func mixed(_ value: UInt64) -> UInt64 {
            var z = value
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        let hash = text.utf8.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        // The 5 sets this use of the seed apart from others.
        let keyed = mixed(mixed(seed &+ step) ^ (5 &* step))
        let state = mixed((keyed &+ step) ^ mixed(hash &+ 1))
        return Double(mixed(state &+ step) >> 11) * 0x1p-53
    }
}
