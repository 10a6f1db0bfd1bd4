import Foundation
import Tensors

/// The folder that holds the committed fixtures.
public let fixturesFolder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Parity/Fixtures")
