import Foundation
import Orchestration
import Testing

private func roundTrip<T: Codable>(_ value: T) throws -> T {
  try BinaryDecoder().decode(T.self, from: try BinaryEncoder().encode(value))
}

private indirect enum Tree: Codable, Equatable {
  case leaf(Int?, name: String)
  case node([Tree])
}

private class Animal: Codable {
  var legs = 4
}

private final class Dog: Animal {
  var name = ""
  private enum Keys: CodingKey { case name, tricks }

  init(name: String, legs: Int) {
    super.init()
    (self.name, self.legs) = (name, legs)
  }

  required init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Keys.self)
    name = try container.decode(String.self, forKey: .name)
    var tricks = try container.nestedUnkeyedContainer(forKey: .tricks)
    #expect(tricks.count == 2)
    #expect(try tricks.decode(Float.self) == 1.5)
    #expect(try tricks.decodeNil())
    #expect(throws: DecodingError.self) { try tricks.decode(Int.self) }
    try super.init(from: container.superDecoder())
  }

  override func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Keys.self)
    // Two containers are open at once, and the one opened first is filled last.
    var tricks = container.nestedUnkeyedContainer(forKey: .tricks)
    try super.encode(to: container.superEncoder())
    try container.encode(name, forKey: .name)
    try tricks.encode(Float(1.5))
    try tricks.encodeNil()
  }
}

private struct Everything: Codable, Equatable {
  var integers: [Int] = [0, 1, -1, .max, .min]
  var small: [Int8] = [-128, 127]
  var unsigned: UInt64 = .max
  var floats: [Float] = [0, -0.0, .infinity, .leastNonzeroMagnitude]
  var doubles: [Double] = [.pi, -.greatestFiniteMagnitude]
  var data = Data([1, 2, 3])
  var text = "héllo \u{0} 🦙"
  var nothing: Int?
  var something: [Float]? = []
  var nested: [[Int32]] = [[], [1], [2, 3]]
  var words: [String: [String?]] = ["a": ["x", nil], "": []]
  var byNumber: [Int: Bool] = [-5: true, 7: false]
  var set: Set<Int> = [3, 1, 2]
  var contiguous: ContiguousArray<Int> = [9, 8, 7]
  var url = URL(string: "http://localhost/x")!
  var date = Date(timeIntervalSince1970: 0.1)
  var tree = Tree.node([.leaf(nil, name: "a"), .node([]), .leaf(3, name: "b")])
}

@Test func everyKindOfValueComesBack() throws {
  #expect(try roundTrip(Everything()) == Everything())
  #expect(try roundTrip(5) == 5)
  #expect(try roundTrip(Int?.none) == nil)
  #expect(try roundTrip([true, false]) == [true, false])
  #expect(try roundTrip("") == "")
  #expect(try roundTrip(Float(bitPattern: 0x7FC0_0001)).bitPattern == 0x7FC0_0001)
  let dog = try roundTrip(Dog(name: "Rex", legs: 3))
  #expect(dog.name == "Rex" && dog.legs == 3)
}

@Test func agreesWithFoundationOnWhatItEncodes() throws {
  // Foundation's coders ask the same types for the same containers; what they carry must be what we carry.
  let value = Everything(floats: [1.25], doubles: [2.5])
  let throughJSON = try JSONDecoder().decode(Everything.self, from: JSONEncoder().encode(value))
  #expect(throughJSON == (try roundTrip(value)))
}

@Test func numbersConvertOnlyWhenExact() throws {
  let bytes = try BinaryEncoder().encode([1, 300])
  #expect(try BinaryDecoder().decode([Int16].self, from: bytes) == [1, 300])
  #expect(try BinaryDecoder().decode(Set<Double>.self, from: bytes) == [1, 300])
  #expect(throws: DecodingError.self) { try BinaryDecoder().decode([UInt8].self, from: bytes) }
  #expect(throws: DecodingError.self) { try BinaryDecoder().decode([String].self, from: bytes) }
  #expect(throws: DecodingError.self) { try BinaryDecoder().decode(UInt.self, from: BinaryEncoder().encode(-1)) }
}

@Test func endlessNestingIsAnErrorOnBothSides() throws {
  var tree = Tree.leaf(1, name: "x")
  for _ in 0..<200 { tree = .node([tree]) }
  #expect(throws: EncodingError.self) { try BinaryEncoder().encode(tree) }
  // The standard library gives UInt128 no encoding of its own: it asks the encoder for it.
  #expect(throws: (any Error).self) { try roundTrip(UInt128(1)) }
}

@Test func arraysOfNumbersAreBlocks() throws {
  let floats = (0..<1_000_000).map { Float($0) }
  let bytes = try BinaryEncoder().encode(["a": floats])
  #expect(bytes.count < 4_000_040)
  let clock = ContinuousClock()
  let ours = try clock.measure { _ = try roundTrip(["a": floats]) }
  #expect(try roundTrip(["a": floats]) == ["a": floats])
  let few = ["a": Array(floats.prefix(20_000))]
  let foundation = try clock.measure {
    _ = try JSONDecoder().decode([String: [Float]].self, from: JSONEncoder().encode(few))
  }
  #expect(ours < foundation * 10, "1M floats here: \(ours); 20k floats as JSON: \(foundation)")
}

@Test func damagedMessagesThrowAndNeverTrap() throws {
  var generator = SystemRandomNumberGenerator()
  let original = try BinaryEncoder().encode(Everything())
  var refused = 0
  for round in 0..<9_000 {
    var bytes = original
    switch round % 3 {
    case 0:
      for _ in 0..<Int.random(in: 1...4) {
        bytes[.random(in: bytes.indices)] = .random(in: 0...255)
      }
    case 1: bytes.removeLast(.random(in: 1..<bytes.count))
    default: bytes = (0..<Int.random(in: 0...60)).map { _ in .random(in: 0...13, using: &generator) }
    }
    do {
      _ = try BinaryDecoder().decode(Everything.self, from: bytes)
    } catch {
      refused += 1
    }
  }
  #expect(refused > 4_500)
}
