import Testing

@testable import Transforms

@Suite("Errors of transforms")
struct TransformErrorTests {
    @Test("An error says its sentence")
    func sentence() {
        #expect("\(TransformError("A size must be positive, not 0."))" == "A size must be positive, not 0.")
    }
}
