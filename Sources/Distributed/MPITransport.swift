import CMPI
import Foundation

/// The processes that an MPI launcher started, through Open MPI.
///
/// Waiting is done here and not in the library, which would spin on a core that computes.
final class MPITransport: Transport {
    let rank: Int
    let size: Int
    var shouldAbort: () -> Int32? = { nil }
    private var peers: [Int: Int32] = [:]

    /// Meets the other processes; everything else is called from the same thread.
    init() throws {
        if let reason = mm_mpi_start() {
            throw DistributedError(
                .unavailable,
                "An MPI launcher started this process, but Open MPI cannot be used: \(String(cString: reason)).")
        }
        (rank, size) = (Int(mm_mpi_rank()), Int(mm_mpi_size()))
    }

    private static func check(_ reason: UnsafePointer<CChar>?) throws {
        guard let reason else { return }
        throw DistributedError(
            .transferFailed, "The processes cannot exchange data any more: \(String(cString: reason)).")
    }

    func allToAll(from: UnsafeRawPointer, counts: [Int], to: UnsafeMutableRawPointer, toCounts: [Int]) throws {
        let (send, receive) = (counts.map(Int32.init), toCounts.map(Int32.init))
        let (sendPlaces, receivePlaces) = (Self.places(send), Self.places(receive))
        // The library reads the lists until the transfer is done.
        try send.withUnsafeBufferPointer { send in
            try sendPlaces.withUnsafeBufferPointer { sendPlaces in
                try receive.withUnsafeBufferPointer { receive in
                    try receivePlaces.withUnsafeBufferPointer { receivePlaces in
                        try Self.check(
                            mm_mpi_begin_all_to_all(
                                from, send.baseAddress, sendPlaces.baseAddress, to, receive.baseAddress,
                                receivePlaces.baseAddress))
                        try wait()
                    }
                }
            }
        }
    }

    func allGather(from: UnsafeRawPointer, to: UnsafeMutableRawPointer, counts: [Int]) throws {
        let receive = counts.map(Int32.init)
        let places = Self.places(receive)
        try receive.withUnsafeBufferPointer { receive in
            try places.withUnsafeBufferPointer { places in
                try Self.check(
                    mm_mpi_begin_all_gather(from, receive[rank], to, receive.baseAddress, places.baseAddress))
                try wait()
            }
        }
    }

    func broadcast(_ data: UnsafeMutableRawPointer, count: Int, root: Int) throws {
        try Self.check(mm_mpi_begin_broadcast(data, Int32(count), Int32(root)))
        try wait()
    }

    private static func places(_ counts: [Int32]) -> [Int32] {
        var (places, next) = ([Int32](), Int32(0))
        for count in counts {
            places.append(next)
            next += count
        }
        return places
    }

    /// Moves the transfer on until it is done.
    private func wait() throws {
        var (done, turns) = (Int32(0), 0)
        while true {
            try Self.check(mm_mpi_test(&done))
            if done != 0 { return }
            turns += 1
            if turns < 100 {
                sched_yield()
            } else {
                // Others compute; this thread must not take a core from them.
                usleep(turns < 1000 ? 20 : 200)
                if turns % 256 == 0 { try lookAround() }
            }
        }
    }

    private func lookAround() throws {
        if let code = shouldAbort() { abort(code: code) }
        for (peer, process) in peers.sorted(by: { $0.key < $1.key }) where kill(process, 0) != 0 && errno == ESRCH {
            throw DistributedError(
                .peerLost,
                "Rank \(peer) of \(size) (process \(process) on this machine) is gone, so the run cannot go on; "
                    + "--resume continues it from the last checkpoint.")
        }
    }

    func watch(_ peers: [Int: Int32]) { self.peers = peers }

    func finish() throws { try Self.check(mm_mpi_finish()) }

    func abort(code: Int32) {
        mm_mpi_abort(code)
        _exit(code)
    }
}
