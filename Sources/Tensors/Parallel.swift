import CKernels
import Foundation

/// The process's one pool of worker threads.
public enum Threads {
    /// How many threads work on one operation, the calling one included; at first the cores this process may use.
    ///
    /// Results do not depend on it.
    public static var count: Int {
        get { Int(mm_thread_count()) }
        set { mm_set_thread_count(Int32(clamping: max(newValue, 1))) }
    }
}

/// The widest instruction set in use: "baseline", "avx2", "avx512", "avx512vnni" or "avx512bf16".
public var instructionSet: String { String(cString: mm_isa_name()) }

/// The processor's name as the system states it.
public var processorName: String {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":", maxSplits: 1).last?.trimmingCharacters(in: .whitespaces) ?? "unknown processor"
}

/// Calls `body` on consecutive ranges that cover `0..<count`, on the pool's threads.
///
/// Ranges are `grain` long whatever the number of threads, so code that rounds differently per range stays deterministic.
func parallelRanges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
    guard count > grain else {
        if count > 0 { body(0..<count) }
        return
    }
    withoutActuallyEscaping(body) { escapable in
        var work = RangeWork(count: count, grain: grain, body: escapable)
        withUnsafeMutablePointer(to: &work) { pointer in
            mm_parallel(
                (count + grain - 1) / grain,
                { context, index in
                    guard let work = context?.assumingMemoryBound(to: RangeWork.self) else { return }
                    let first = index * work.pointee.grain
                    work.pointee.body(first..<min(first + work.pointee.grain, work.pointee.count))
                }, pointer)
        }
    }
}

private struct RangeWork {
    let count: Int
    let grain: Int
    let body: (Range<Int>) -> Void
}

/// Calls `body` for every index of `0..<count`, on the pool's threads.
func parallelEach(_ count: Int, _ body: (Int) -> Void) {
    parallelRanges(count, grain: 1) { range in for index in range { body(index) } }
}

/// Elements per range of an elementwise loop: large enough to hide a thread's wake-up.
let elementGrain = 1 << 15
