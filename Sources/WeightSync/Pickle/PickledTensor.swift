import Checkpoints
import Foundation
import Torch

/// A tensor as a pickle describes it: a view of a storage, in the pickle or in shared memory.
struct PickledTensor {
  enum Storage {
    case inline([UInt8])
    /// A name that `shm_open` takes, and the bytes behind it.
    case shared(name: String, byteCount: Int)
  }

  /// Torch counts the users of shared memory in front of the elements.
  private static let sharedHeader = 64

  let storage: Storage
  let dtype: DType
  let shape: [Int]
  /// In elements, as the strides.
  let offset: Int
  let strides: [Int]

  static func dtype(_ name: String) throws -> DType {
    guard let dtype = DType(name: name) else { throw PickleError("tensors of dtype \(name) are not supported") }
    return dtype
  }

  /// Throws where the shape is none, or too large for any memory.
  static func byteCount(_ shape: [Int], _ dtype: DType) throws -> Int {
    try shape.reduce(dtype.size) { count, size in
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow, product < 1 << 48 else { throw PickleError("\(shape) is no shape of a tensor") }
      return product
    }
  }

  /// - Throws: `PickleError` where the value is no sound tensor on the CPU.
  init(_ value: PickleValue) throws {
    guard let object = value.object else { throw PickleError("\(value.kind) is no tensor") }
    let arguments = object.arguments
    switch (object.function.module, object.function.name) {
    case ("torch._utils", "_rebuild_parameter"), (PickledTensors.reductions, "rebuild_parameter"):
      guard let data = arguments.first(where: { $0.object?.function.name.contains("rebuild") == true }) else {
        throw PickleError("a parameter has no tensor")
      }
      self = try PickledTensor(data)
    case ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3"):
      guard arguments.count >= 4 else { throw PickleError("a tensor's description is incomplete") }
      var (storage, dtype) = try PickledStorage.inline(arguments[0])
      if object.function.name.hasSuffix("v3") {
        guard arguments.count >= 7, let name = arguments[6].global?.name else { throw PickleError("a tensor has no dtype") }
        dtype = try Self.dtype(name)
      }
      guard let dtype else { throw PickleError("a tensor has no dtype") }
      try self.init(storage, dtype, offset: arguments[1], shape: arguments[2], strides: arguments[3])
    case (PickledTensors.reductions, "rebuild_tensor"):
      guard arguments.count >= 3, let view = arguments[2].array, view.count >= 3 else {
        throw PickleError("a tensor's description is incomplete")
      }
      let (storage, dtype) = try PickledStorage.shared(arguments[1])
      try self.init(storage, dtype, offset: view[0], shape: view[1], strides: view[2])
    case (PickledTensors.reductions, "rebuild_cuda_tensor"):
      throw PickleError("it lies on a GPU of its sender; move it to the CPU before it is serialized")
    default: throw PickleError("a \(object.function) is no tensor")
    }
  }

  private init(
    _ storage: Storage, _ dtype: DType, offset: PickleValue, shape: PickleValue, strides: PickleValue
  ) throws {
    guard let offset = offset.int, let shape = shape.integers, let strides = strides.integers, offset >= 0,
      shape.count == strides.count, shape.count <= 16, strides.allSatisfy({ $0 >= 0 })
    else { throw PickleError("offset, shape and strides do not describe a tensor") }
    (self.storage, self.dtype, self.shape, self.offset, self.strides) = (storage, dtype, shape, offset, strides)
    guard try Self.byteCount(shape, dtype) > 0 else { return }
    var last = offset
    for (size, stride) in zip(shape, strides) {
      let (reach, overflow) = (size - 1).multipliedReportingOverflow(by: stride)
      let (sum, overflows) = last.addingReportingOverflow(reach)
      guard !overflow, !overflows else { throw PickleError("its strides \(strides) lead beyond any memory") }
      last = sum
    }
    guard last < capacity / dtype.size else {
      throw PickleError("shape \(shape) with strides \(strides) needs more than the storage's \(capacity) bytes")
    }
  }

  private var capacity: Int {
    switch storage {
    case .inline(let bytes): bytes.count
    case .shared(_, let byteCount): byteCount
    }
  }

  /// The elements in row-major order.
  func bytes() throws -> Data {
    switch storage {
    case .inline(let bytes): return try bytes.withUnsafeBytes(rowMajor)
    case .shared(let name, let byteCount):
      return try SharedMemory.withPOSIXMemory(name, byteCount: Self.sharedHeader + byteCount) {
        try rowMajor(UnsafeRawBufferPointer(rebasing: $0[Self.sharedHeader...]))
      }
    }
  }

  private func rowMajor(_ storage: UnsafeRawBufferPointer) throws -> Data {
    let count = try Self.byteCount(shape, dtype)
    var expected = 1
    var isContiguous = true
    for (size, stride) in zip(shape, strides).reversed() {
      if size != 1, stride != expected { isContiguous = false }
      expected *= max(1, size)
    }
    if count == 0 { return Data() }
    let start = offset * dtype.size
    if isContiguous { return Data(storage[start..<start + count]) }
    // Strides of 0 repeat elements: what such a view stands for may be far larger than what was sent.
    guard count <= 64 * storage.count else { throw PickleError("shape \(shape) repeats a storage of \(storage.count) bytes") }
    var data = Data(capacity: count)
    var index = [Int](repeating: 0, count: shape.count)
    while true {
      let element = offset + zip(index, strides).reduce(0) { $0 + $1.0 * $1.1 }
      data.append(contentsOf: storage[element * dtype.size..<(element + 1) * dtype.size])
      var dimension = shape.count - 1
      while dimension >= 0 {
        index[dimension] += 1
        if index[dimension] < shape[dimension] { break }
        index[dimension] = 0
        dimension -= 1
      }
      if dimension < 0 { return data }
    }
  }
}

/// The storages that pickled tensors refer to.
enum PickledStorage {
  /// `torch.storage._load_from_bytes`: what `torch.save` makes of a storage, in its old format.
  static func inline(_ value: PickleValue) throws -> (PickledTensor.Storage, DType?) {
    guard let object = value.object, object.function == PickleGlobal("torch.storage", "_load_from_bytes"),
      let bytes = object.arguments.first?.bytes
    else { throw PickleError("its storage is \(value.kind), which is not in the pickle") }
    return try bytes.withUnsafeBytes { try legacy($0) }
  }

  /// Five pickles (a mark, a version, the machine, the storage's description, its key), a count of elements, and bytes.
  private static func legacy(_ bytes: UnsafeRawBufferPointer) throws -> (PickledTensor.Storage, DType?) {
    var rest = bytes
    func next() throws -> PickleValue {
      let (value, following) = try PickleReader.first(of: rest, allowing: PickledTensors.allowed)
      rest = following
      return value
    }
    let mark: PickleValue = .largeInt([0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19])
    guard try next() == mark, try next() == 1001, try next()["little_endian"] == true else {
      throw PickleError("its storage is in no format that torch.save writes")
    }
    guard case .persistent(let id) = try next(), let parts = id.array, parts.count >= 5, parts[0] == "storage",
      let type = parts[1].global, try next().array?.count == 1, rest.count >= 8
    else { throw PickleError("its storage has no sound description") }
    let count = rest.loadUnaligned(as: Int64.self).littleEndian
    let data = rest[(rest.startIndex + 8)...]
    let dtype = PickleGlobal.elementType(ofStorage: type).flatMap { DType(name: $0) }
    guard dtype != nil || type.name == "UntypedStorage" else { throw PickleError("its storage is a \(type)") }
    let (size, overflow) = Int(count).multipliedReportingOverflow(by: dtype?.size ?? 1)
    guard !overflow, size == data.count else {
      throw PickleError("its storage has \(data.count) bytes, not \(count) elements")
    }
    return (.inline(Array(data)), dtype)
  }

  /// A storage of torch's `file_system` sharing strategy.
  static func shared(_ value: PickleValue) throws -> (PickledTensor.Storage, DType) {
    guard let typed = value.object, typed.function.name == "rebuild_typed_storage", typed.arguments.count >= 2,
      let storage = typed.arguments[0].object, let typeName = typed.arguments[1].global?.name
    else { throw PickleError("its storage has no sound description") }
    let dtype = try PickledTensor.dtype(typeName)
    let arguments = storage.arguments
    switch storage.function.name {
    case "rebuild_storage_filename":
      guard arguments.count >= 4, let handle = arguments[2].bytes, let count = arguments[3].int, (0..<1 << 48).contains(count)
      else {
        throw PickleError("its shared memory has no sound description")
      }
      // Sizes of typed storages are in elements, those of untyped ones in bytes.
      let isTyped = arguments.count > 4 && arguments[4].global != nil
      let (size, overflow) = count.multipliedReportingOverflow(by: isTyped ? dtype.size : 1)
      guard !overflow else { throw PickleError("its shared memory has no sound size") }
      return (.shared(name: String(decoding: handle, as: UTF8.self), byteCount: size), dtype)
    case "rebuild_storage_empty": return (.inline([]), dtype)
    case "rebuild_storage_fd":
      throw PickleError(
        "its memory was shared as a file descriptor, which only children of its sender can open; call torch.multiprocessing.set_sharing_strategy(\"file_system\") or pickle it plainly")
    default: throw PickleError("its storage is a \(storage.function)")
    }
  }
}
