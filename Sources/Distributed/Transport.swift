/// Moves memory between the processes of a group.
///
/// Every process calls the same functions in the same order, from one thread. Each returns when its transfer is done.
/// Counts are words of four bytes, one for each rank; parts lie one behind another.
public protocol Transport: AnyObject {
    /// This process's number.
    var rank: Int { get }
    /// The number of processes.
    var size: Int { get }

    /// Sends each rank a part of `from` and receives one from each into `to`.
    func allToAll(
        from: UnsafeRawPointer, counts: [Int], to: UnsafeMutableRawPointer, toCounts: [Int]
    ) throws

    /// Gives every rank what each has.
    func allGather(from: UnsafeRawPointer, to: UnsafeMutableRawPointer, counts: [Int]) throws

    /// Gives every rank what `root` has.
    func broadcast(_ data: UnsafeMutableRawPointer, count: Int, root: Int) throws

    /// Takes leave of the others.
    func finish() throws

    /// Ends all processes.
    func abort(code: Int32)

    /// Tells which processes can be looked after: those on this machine, by rank. A wait ends when one is gone.
    func watch(_ peers: [Int: Int32])

    /// What is asked while a transfer waits: it ends with an error when this says so.
    var shouldAbort: () -> Int32? { get set }
}
