import JSON
import Testing

@testable import Checkpoints

@Suite("Fields of a configuration")
struct JSONFieldsTests {
    @Test("fields say what a member must be and what was found")
    func fields() throws {
        let value = try JSONValue.parse(
            #"{"n_head":"eight","width":8,"rate":0.5,"on":true,"sizes":[1,2],"inner":{"deep":"x"},"none":null}"#)
        let fields = try JSONFields(value, source: "config.json")
        #expect(try fields.integer("width") == 8)
        #expect(try fields.double("width") == 8)
        #expect(try fields.integer("absent", default: 3) == 3)
        #expect(try fields.optionalInteger("none") == nil)
        #expect(try fields.integers("sizes") == [1, 2])
        #expect(try fields.bool("on"))
        #expect(try fields.string("n_head", oneOf: ["eight", "nine"]) == "eight")
        let cases: [(String, () throws -> Void)] = [
            (#"config.json: 'n_head' must be an integer, found "eight"."#, { _ = try fields.integer("n_head") }),
            ("config.json: 'rate' must be an integer, found 0.5.", { _ = try fields.integer("rate", default: 1) }),
            ("config.json: 'absent' must be a number, it is missing.", { _ = try fields.double("absent") }),
            (
                #"config.json: 'inner.deep' must be true or false, found "x"."#,
                { _ = try fields.fields("inner").bool("deep") }
            ),
            (
                "config.json: 'width' must be an integer from 1 to 4, found 8.",
                { _ = try fields.integer("width", in: 1...4) }
            ),
            (
                "config.json: 'widht' is not an option; did you mean 'width'?",
                {
                    try JSONFields(["widht": 1] as JSONObject, source: "config.json").rejectUnknown(known: [
                        "width", "depth",
                    ])
                }
            ),
        ]
        for (message, body) in cases {
            let error = #expect(throws: CheckpointError.self) { try body() }
            #expect(error?.message == message)
            #expect(error?.code == .invalidConfiguration)
        }
    }
}
