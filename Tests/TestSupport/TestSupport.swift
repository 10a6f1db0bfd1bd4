import Foundation
import Tensors

/// The folder that holds the committed fixtures.
public let fixturesFolder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Parity/Fixtures")

/// The sentence of the error that `body` throws, or that it threw none.
public func message(_ body: () throws -> some Any) -> String {
    do {
        _ = try body()
        return "nothing was refused"
    } catch {
        return "\(error)"
    }
}
