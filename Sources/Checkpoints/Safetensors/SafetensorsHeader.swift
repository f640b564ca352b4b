import Foundation
import JSON

/// The beginning of a safetensors file: eight bytes of length, then JSON that lists the tensors.
///
/// The checks are those of the format's reference implementation: the tensors' bytes follow one another without hole or
/// overlap and fill the file to its end, and each has as many as its shape and type need.
package struct SafetensorsHeader {
  /// The format's limit, which keeps a corrupt length from asking for the whole memory.
  static let maximumByteCount = 100_000_000

  package var metadata: [String: String]
  /// In the order of their bytes.
  package var tensors: [TensorDescription]
}

// MARK: - Reading

extension SafetensorsHeader {
  package init(parsing file: UnsafeRawBufferPointer, of url: URL) throws {
    guard file.count >= 8 else {
      throw CheckpointError(url, "the file has \(file.count) bytes, too few for a safetensors file; it is truncated")
    }
    let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
    guard length <= Self.maximumByteCount else {
      throw CheckpointError(
        url, "its header claims \(length) bytes, more than a safetensors file may have; this is no safetensors file")
    }
    let dataStart = 8 + Int(length)
    guard dataStart <= file.count else {
      throw CheckpointError(
        url, "its header should have \(length) bytes but the file ends after \(file.count); it is truncated")
    }
    let object = try Self.object(UnsafeRawBufferPointer(rebasing: file[8..<dataStart]), of: url)
    metadata = try Self.metadata(object["__metadata__"], of: url)
    tensors = []
    tensors.reserveCapacity(object.count)
    for (name, value) in object.pairs where name != "__metadata__" {
      tensors.append(try Self.tensor(name, value, dataStart: dataStart, of: url))
    }
    tensors.sort { ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound) }
    try checkThatTensorsFill(dataStart..<file.count, of: url)
  }

  private static func object(_ bytes: UnsafeRawBufferPointer, of url: URL) throws -> JSONObject {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw CheckpointError(url, "its header is not UTF-8; the file is corrupt")
    }
    let value: JSONValue
    do { value = try JSONValue(parsing: text) } catch {
      throw CheckpointError(url, "its header is corrupt: \(error)")
    }
    guard let object = value.object else { throw CheckpointError(url, "its header is \(value.kind), not an object") }
    return object
  }

  private static func metadata(_ value: JSONValue?, of url: URL) throws -> [String: String] {
    guard let value, !value.isNull else { return [:] }
    guard let object = value.object else {
      throw CheckpointError(url, "__metadata__ in its header is \(value.kind), not an object")
    }
    return try Dictionary(uniqueKeysWithValues: object.pairs.map { key, value in
      guard let text = value.string else {
        throw CheckpointError(url, "'\(key)' in its header's __metadata__ is \(value.kind), not a string")
      }
      return (key, text)
    })
  }

  private static func tensor(_ name: String, _ value: JSONValue, dataStart: Int, of url: URL) throws -> TensorDescription {
    func corrupt(_ problem: String) -> CheckpointError { CheckpointError(url, "tensor '\(name)' \(problem)") }
    guard let typeName = value["dtype"]?.string else { throw corrupt("has no dtype in the header") }
    guard let dtype = SafetensorsDType(rawValue: typeName) else { throw corrupt("has the unknown dtype '\(typeName)'") }
    guard let shape = sizes(value["shape"]) else { throw corrupt("has no valid shape in the header") }
    guard let offsets = sizes(value["data_offsets"]), offsets.count == 2, offsets[0] <= offsets[1],
      offsets[1] <= Int.max - dataStart
    else { throw corrupt("has no valid data_offsets in the header") }
    guard let needed = dtype.byteCount(shape: shape) else {
      throw corrupt("cannot have the shape \(shape) with dtype \(typeName)")
    }
    let found = offsets[1] - offsets[0]
    guard found == needed else {
      throw corrupt("has \(found) bytes, but shape \(shape) with dtype \(typeName) needs \(needed)")
    }
    return TensorDescription(
      name: name, dtype: dtype, shape: shape, byteRange: dataStart + offsets[0]..<dataStart + offsets[1])
  }

  /// An array of integers from 0 on; nil for anything else, such as `2.0`.
  private static func sizes(_ value: JSONValue?) -> [Int]? {
    guard let items = value?.array else { return nil }
    let sizes = items.compactMap { item -> Int? in
      if case .int(let size) = item, size >= 0 { size } else { nil }
    }
    return sizes.count == items.count ? sizes : nil
  }

  private func checkThatTensorsFill(_ data: Range<Int>, of url: URL) throws {
    var end = data.lowerBound
    for tensor in tensors {
      guard tensor.byteRange.lowerBound == end else {
        let fault = tensor.byteRange.lowerBound < end ? "overlaps the tensor before it" : "leaves a hole before it"
        throw CheckpointError(
          url, "tensor '\(tensor.name)' begins at byte \(tensor.byteRange.lowerBound), not at \(end): it \(fault)")
      }
      end = tensor.byteRange.upperBound
    }
    if let last = tensors.last, end > data.upperBound {
      throw CheckpointError(
        url, "tensor '\(last.name)' should end at byte \(end) but the file ends after \(data.upperBound); it is truncated")
    }
    guard end == data.upperBound else {
      throw CheckpointError(url, "\(data.upperBound - end) bytes at its end belong to no tensor")
    }
  }
}

// MARK: - Writing

extension SafetensorsHeader {
  /// Lays out a new file: the tensors in the format's order, and the bytes that come before them.
  static func layOut(
    _ specifications: [TensorSpecification], metadata: [String: String], of url: URL
  ) throws -> (header: [UInt8], tensors: [TensorDescription]) {
    let sorted = specifications.sorted { a, b in
      let (rankA, rankB) = (SafetensorsDType.rank[a.dtype]!, SafetensorsDType.rank[b.dtype]!)
      return rankA != rankB ? rankA > rankB : a.name.utf8.lexicographicallyPrecedes(b.name.utf8)
    }
    var object = JSONObject()
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { ($0.key, JSONValue.string($0.value)) }
      object["__metadata__"] = .object(JSONObject(pairs))
    }
    var offset = 0
    var ranges: [Range<Int>] = []
    for tensor in sorted {
      guard tensor.name != "__metadata__", object[tensor.name] == nil else {
        throw CheckpointError(url, "tensor '\(tensor.name)' cannot be written twice, nor under the name __metadata__")
      }
      guard let count = tensor.dtype.byteCount(shape: tensor.shape), count <= Int.max - offset else {
        throw CheckpointError(
          url, "tensor '\(tensor.name)' cannot have the shape \(tensor.shape) with dtype \(tensor.dtype.rawValue)")
      }
      let range = offset..<offset + count
      object[tensor.name] = [
        "dtype": .string(tensor.dtype.rawValue),
        "shape": .array(tensor.shape.map { .int($0) }),
        "data_offsets": [.int(range.lowerBound), .int(range.upperBound)],
      ]
      ranges.append(range)
      offset = range.upperBound
    }
    var json = JSONValue.object(object).bytes()
    json.append(contentsOf: repeatElement(UInt8(ascii: " "), count: (8 - json.count % 8) % 8))
    guard json.count <= maximumByteCount else {
      throw CheckpointError(url, "\(sorted.count) tensors need a header of \(json.count) bytes; write them to several files")
    }
    let header = withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
    let tensors = zip(sorted, ranges).map { tensor, range in
      TensorDescription(
        name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
        byteRange: header.count + range.lowerBound..<header.count + range.upperBound)
    }
    return (header, tensors)
  }
}
