/// Parts of the output that are guessed with different luck.
enum OutputPart: Int, CaseIterable {
    /// There is no frame before it.
    case firstFrame
    case laterFrames
}

/// Guesses ids from what was drawn before; a wrong one costs time and changes nothing.
///
/// What is seen at a place is mostly what was there a frame before; in the first frame, what another sample had there.
/// Both are guessed better from what followed the same neighbours when they were last drawn, in whatever sample.
struct Guesses {
    private let frame: Int
    private let line: Int
    /// What was drawn last at each place of the first frame.
    private var firstFrame: [Int]
    /// What was drawn last after a context, by the context's hash: the hash's upper half, to recognize it, and the id.
    private var followers: [(mark: UInt32, id: Int32)]

    /// - Parameter latentShape: the grid of ids, frames first.
    init(latentShape: [Int]) {
        frame = max(1, latentShape.dropFirst().reduce(1, *))
        line = max(1, latentShape.last ?? 1)
        firstFrame = Array(repeating: 0, count: latentShape.count > 1 ? min(frame, latentShape.reduce(1, *)) : 0)
        followers = Array(repeating: (0, 0), count: 1 << 15)
    }

    /// The part of the output that a place belongs to.
    func part(_ position: Int) -> OutputPart { position < frame ? .firstFrame : .laterFrames }

    /// Takes in the last of the known ids of a sample.
    mutating func learn(_ known: [Int]) {
        guard let id = known.last else { return }
        let place = known.count - 1
        if place < firstFrame.count { firstFrame[place] = id }
        let hash = context(place, known, [])
        followers[Int(hash & 0x7FFF)] = (UInt32(truncatingIfNeeded: hash >> 32), Int32(truncatingIfNeeded: id))
    }

    /// Makes guesses until there are `count` of the ids that follow `known`.
    func extend(_ drafts: inout [Int], to count: Int, after known: [Int]) {
        while drafts.count < count {
            let place = known.count + drafts.count
            let hash = context(place, known, drafts)
            let follower = followers[Int(hash & 0x7FFF)]
            if follower.mark == UInt32(truncatingIfNeeded: hash >> 32) {
                drafts.append(Int(follower.id))
            } else if place >= frame {
                let before = place - frame
                drafts.append(before < known.count ? known[before] : drafts[before - known.count])
            } else {
                drafts.append(place < firstFrame.count ? firstFrame[place] : known.last ?? 0)
            }
        }
    }

    /// A name for what stands around a place: its neighbours to the left and above, a frame before, or the place itself
    /// where there is no frame before.
    private func context(_ place: Int, _ known: [Int], _ drafts: [Int]) -> UInt64 {
        func at(_ distance: Int) -> UInt64 {
            let other = place - distance
            guard other >= 0 else { return 0xFFFF }
            return UInt64(other < known.count ? known[other] : drafts[other - known.count])
        }
        var hash: UInt64 = place < frame ? UInt64(place) : 0xFFFF_FFFF
        for part in [at(1), at(line), place < frame ? 0 : at(frame), place < frame ? 0 : at(frame - 1)] {
            hash = (hash ^ part) &* 0x9E37_79B9_7F4A_7C15
            hash ^= hash >> 29
        }
        return hash
    }
}
