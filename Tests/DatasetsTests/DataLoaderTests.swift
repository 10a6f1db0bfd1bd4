import Datasets
import Foundation
import Synchronization
import Tensors
import Testing

@Suite("Batches read ahead")
struct DataLoaderTests {
    private func dataset(_ folder: TemporaryFolder) throws -> VideoDataset {
        try VideoDataset(
            Manifest(contentsOf: folder.url), sampling: ClipSampling(frameCount: 2, width: 8, height: 8), seed: 9,
            cache: MemoryFrameCache())
    }

    /// A loader of one clip of seven after another, by their marks.
    private func loader(
        _ dataset: VideoDataset, _ numbers: Range<Int>, workers: Int = 1, ahead: Int = 2
    ) -> DataLoader<[[Int]]> {
        DataLoader(numbers, workers: workers, ahead: ahead) {
            { number in try marks(dataset.sample(number % 7, epoch: number / 7).pixels) }
        }
    }

    @Test("batches come in order with any number of workers", arguments: [(1, 1), (1, 2), (2, 3), (5, 2)])
    func workers(_ workers: Int, _ ahead: Int) throws {
        let folder = try clipFolder(7, frames: { _ in 5 })
        let data = try dataset(folder)
        let loader = loader(data, 0..<21, workers: workers, ahead: ahead)
        for number in 0..<21 { #expect(try loader.next() == marks(data.sample(number % 7, epoch: number / 7).pixels)) }
    }

    @Test("a loader goes on from any batch")
    func resuming() throws {
        let folder = try clipFolder(7, frames: { _ in 5 })
        let data = try dataset(folder)
        let whole = loader(data, 0..<12)
        let batches = try (0..<12).map { _ in try whole.next() }
        #expect(Set(batches).count > 7)
        for start in 0..<12 {
            let rest = loader(data, start..<12)
            for expected in batches[start...] { #expect(try rest.next() == expected) }
        }
    }

    @Test("a file that cannot be read surfaces where its batch is due, and the next batch follows")
    func failures() throws {
        let folder = try clipFolder(4, frames: { _ in 3 })
        try Data("no video".utf8).write(to: folder.file("clip_02.mp4"))
        let loader = try loader(dataset(folder), 0..<4)
        #expect(try loader.next().first?.first == 0)
        #expect(try loader.next().first?.first == 1)
        let error = datasetError { _ = try loader.next() }
        #expect(error?.code == .unreadableSample)
        #expect(error?.message.contains("clip_02.mp4") == true)
        #expect(try loader.next().first?.first == 3)
    }

    @Test("no more is read ahead than was asked for, nothing past the end, and a dropped loader ends its workers")
    func bounds() throws {
        let last = Atomic<Int>(-1)
        for _ in 0..<20 {
            let loader = DataLoader(10..<13, workers: 3, ahead: 2) {
                { number in
                    last.store(max(last.load(ordering: .relaxed), number), ordering: .relaxed)
                    return number
                }
            }
            #expect(try loader.next() == 10)
            usleep(1000)
            #expect(last.load(ordering: .relaxed) <= 12)
        }
        let waiting = DataLoader(0..<100, ahead: 3) {
            { number in
                last.store(number, ordering: .relaxed)
                return number
            }
        }
        usleep(50_000)
        #expect(last.load(ordering: .relaxed) <= 2)
        #expect(try waiting.next() == 0)
    }
}
