import JSON
import TestSupport
import Testing

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
        let error = #expect(throws: JSONError.self) { try JSONValue.parse(text, source: "a.json") }
        #expect(error?.message.hasPrefix("a.json is not valid JSON at line ") == true)
    }

    @Test("nesting stops at the limit")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        for depth in [127, 128] { _ = try JSONValue.parse(nested(depth)) }
        for depth in [129, 1_000_000] {
            let error = #expect(throws: JSONError.self) { try JSONValue.parse(nested(depth)) }
            #expect(error?.code == .limitExceeded)
        }
    }

    @Test("invalid UTF-8 is refused")
    func utf8() {
        for bytes: [UInt8] in [[0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22]] {
            #expect(throws: JSONError.self) { try bytes.withUnsafeBytes { try JSONValue.parse($0, source: "x") } }
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

    @Test("keys are told apart by their scalars, not by canonical equivalence")
    func exactKeys() throws {
        let text = "{\"\u{E9}\":1,\"e\u{301}\":2}"
        var object = try #require(JSONValue.parse(text).objectValue)
        #expect(object.count == 2)
        #expect(object["\u{E9}"] == 1 && object["e\u{301}"] == 2)
        #expect(JSONValue.object(object).serialized() == text)
        object["e\u{301}"] = nil
        #expect(object.keys.map { Array($0.utf8) } == [[0xC3, 0xA9]])
    }

    @Test("text with random damage is read or refused, and what was read writes and reads the same")
    func damage() throws {
        let text =
            #"{"shape": [2, 3, -4.5e-3], "name": "a\u00e9\ud83d\ude00\n", "on": true, "off": false, "none": null, "#
            + #""deep": [[[[{"x": {"y": [1, 12345678901234567890]}}]]]], "e": {}, "f": []}"#
        let bytes = Array(text.utf8)
        _ = try JSONValue.parse(text)
        var generator = SeededGenerator(seed: 1)
        var read = 0
        let total = try cost {
            for _ in 0..<4000 {
                do {
                    let value = try damaged(bytes, using: &generator).withUnsafeBytes {
                        try JSONValue.parse($0, source: "x")
                    }
                    #expect(try JSONValue.parse(value.serialized()) == value)
                    read += 1
                } catch let error as JSONError {
                    #expect(error.message.hasPrefix("x is not valid JSON at line "))
                }
            }
        }
        #expect(read > 50)
        #expect(total.seconds < 10 && total.bytes < 1 << 30, "\(total)")
    }
}
