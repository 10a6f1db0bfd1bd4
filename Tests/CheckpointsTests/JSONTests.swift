import Testing

@testable import Checkpoints

@Suite("JSON")
struct JSONTests {
    @Test(
        "values read and write the same",
        arguments: [
            "null", "true", "-0", "12", "-9223372036854775808", "1.5", "0.1", "1e+300", #""""#, #""a\"\\\n\u0001é😀""#,
            "[]",
            "{}", #"{"b":1,"a":[1,2.5,{"c":null}]}"#,
        ])
    func roundTrip(text: String) throws {
        let value = try JSONValue.parse(text)
        #expect(try JSONValue.parse(value.serialized()) == value)
        #expect(try JSONValue.parse(value.serialized(pretty: true)) == value)
        #expect(value.serialized() == (text == "-0" ? "0" : text))
    }

    @Test("escapes and numbers are understood")
    func escapes() throws {
        #expect(try JSONValue.parse(#""\u00e9\ud83d\ude00\/\b\f""#) == .string("é😀/\u{8}\u{C}"))
        #expect(try JSONValue.parse("9223372036854775808") == .number(9223372036854775808))
        #expect(try JSONValue.parse("1.0") == .number(1))
        #expect(try JSONValue.parse("1.0").serialized() == "1.0")
        #expect(JSONValue.number(.nan).serialized() == "null")
    }

    @Test(
        "what is not JSON is refused with line and column",
        arguments: [
            "", " ", "nul", "tru", "01", "-", "+1", "1.", ".5", "1e", "1e400", "NaN", "Infinity", "[1,]", "[1 2]", "[",
            "{",
            #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, #"{"a":1,"a":2}"#, "{a:1}", "'a'", #""a"#, #""\x""#, #""\u12g4""#,
            #""\u12""#,
            #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "\"\u{1}\"", "\u{FEFF}1", "1 2", "{} x", "[[[", "// c\n1",
        ])
    func refused(text: String) {
        let error = #expect(throws: CheckpointError.self) { try JSONValue.parse(text, source: "a.json") }
        #expect(error?.message.hasPrefix("a.json is not valid JSON at line ") == true)
    }

    @Test("nesting stops at the limit")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        for depth in [127, 128] { _ = try JSONValue.parse(nested(depth)) }
        for depth in [129, 1_000_000] {
            let error = #expect(throws: CheckpointError.self) { try JSONValue.parse(nested(depth)) }
            #expect(error?.code == .limitExceeded)
        }
    }

    @Test("invalid UTF-8 is refused")
    func utf8() {
        for bytes: [UInt8] in [[0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22]] {
            #expect(throws: CheckpointError.self) { try bytes.withUnsafeBytes { try JSONValue.parse($0, source: "x") } }
        }
    }

    @Test("objects keep the order of their keys")
    func order() throws {
        var object = try #require(JSONValue.parse(#"{"z":1,"a":2,"m":3}"#).objectValue)
        #expect(object.keys == ["z", "a", "m"])
        object["a"] = 5
        object["b"] = 6
        object["z"] = nil
        #expect(JSONValue.object(object).serialized() == #"{"a":5,"m":3,"b":6}"#)
    }

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
