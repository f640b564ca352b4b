import JSON
import Testing

@Test func keepsOrderAndIntegers() throws {
  let text = #"{"b":1,"a":[1.0,-2,3e2,true,null],"é\n":"\u00e9\ud83d\ude00\"\\"}"#
  let value = try JSONValue(parsing: text)
  #expect(value.object?.keys == ["b", "a", "é\n"])
  #expect(value["a"]?.array == [.double(1), .int(-2), .double(300), .bool(true), .null])
  #expect(value["é\n"]?.string == "é😀\"\\")
  #expect(try JSONValue(parsing: value.text()) == value)
}

@Test func layoutsAreThoseOfPython() throws {
  let value: JSONValue = ["a": [1, 2.5], "b": [:], "c": [], "d": "x"]
  #expect(value.text(.python) == #"{"a": [1, 2.5], "b": {}, "c": [], "d": "x"}"#)
  #expect(value.text(.indented(2)) == "{\n  \"a\": [\n    1,\n    2.5\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": \"x\"\n}")
}

@Test(arguments: ["", "{", "[1,]", "{\"a\"}", "01", "1.", "\"\u{1}\"", "tru", "[1] 2", "{\"a\":1,}", "\"\\x\"", "nan", "-"])
func rejectsWhatIsNotJSON(_ text: String) {
  #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
}

@Test func refusesEndlessNesting() {
  #expect(throws: JSONError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
}

@Test func equivalentKeysAreDifferent() throws {
  let value = try JSONValue(parsing: "{\"\u{E9}\":1,\"e\u{301}\":2}")
  #expect(value.object?.count == 2)
  #expect(value["\u{E9}"] == 1 && value["e\u{301}"] == 2)
}
