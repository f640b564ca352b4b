import Torch

/// A tensor as a `torch.save` pickle describes it: a view of a storage that lies beside the pickle.
struct StorageView: Equatable {
  /// PyTorch's name of the element type.
  var dtypeName: String
  /// The storage's entry is `data/<key>`.
  var key: String
  /// Elements of the storage; bytes, where `isUntyped`.
  var storageCount: Int
  var isUntyped: Bool
  /// In elements, as the strides.
  var storageOffset: Int
  var shape: [Int]
  var strides: [Int]
}

enum TensorPickling {
  // MARK: Writing

  private static let storageClasses = Dictionary(
    uniqueKeysWithValues: PickleGlobal.storages.map { ($0.value, $0.key) })

  /// A contiguous tensor that is all of the storage `key`, as `torch.save` describes it.
  static func value(dtype: DType, shape: [Int], key: String) -> PickleValue {
    let count = shape.reduce(1, *)
    let storage = storageClasses[dtype.name]
    let id: PickleValue = .tuple([
      "storage", .global(storage ?? .untypedStorage), .string(key), "cpu",
      .int(storage == nil ? count * dtype.size : count),
    ])
    let arguments: [PickleValue] = [
      .persistent(id), 0, .tuple(shape.map { .int($0) }), .tuple(rowMajorStrides(shape).map { .int($0) }), false,
      .object(PickleObject(.orderedDictionary)),
    ]
    guard storage == nil else { return .object(PickleObject(.rebuildTensor, arguments)) }
    let type = PickleValue.global(PickleGlobal("torch", dtype.name))
    return .object(PickleObject(.rebuildTensorWithType, arguments + [type]))
  }

  /// The value with its tensors taken out, in the order in which their storages are numbered.
  static func extractTensors(of value: PickleValue, into tensors: inout [HostTensor]) -> PickleValue {
    switch value {
    case .tensor(let tensor):
      tensors.append(tensor)
      return Self.value(dtype: tensor.dtype, shape: tensor.shape, key: String(tensors.count - 1))
    default: return value.mapChildren { extractTensors(of: $0, into: &tensors) }
    }
  }

  // MARK: Reading

  /// The tensor that an object stands for; nil for any other object. Throws `PickleError` where it is no sound one.
  static func view(of object: PickleObject) throws -> StorageView? {
    let arguments = object.arguments
    switch object.function {
    case .rebuildParameter:
      guard let data = arguments.first?.object else { throw PickleError("the pickle has a parameter without a tensor") }
      return try view(of: data)
    case .rebuildTensor, .rebuildTensorWithType:
      guard arguments.count >= 6, case .persistent(let id) = arguments[0], let parts = id.array, parts.count >= 5,
        parts[0] == "storage", let storage = parts[1].global, let key = parts[2].string, let count = parts[4].int,
        let offset = arguments[1].int, let shape = arguments[2].integers, let strides = arguments[3].integers
      else { throw PickleError("the pickle has a tensor whose description is no sound one") }
      let isUntyped = storage == .untypedStorage
      let type = arguments.count > 6 ? arguments[6].global?.name : PickleGlobal.storages[storage]
      guard let type else { throw PickleError("the pickle has a tensor of the unknown storage class \(storage)") }
      return StorageView(
        dtypeName: type, key: key, storageCount: count, isUntyped: isUntyped, storageOffset: offset, shape: shape,
        strides: strides)
    default: return nil
    }
  }
}

/// The strides of a contiguous tensor, in elements, as PyTorch has them: a dimension of size 0 counts as one of size 1.
func rowMajorStrides(_ shape: [Int]) -> [Int] {
  var strides = [Int](repeating: 1, count: shape.count)
  for i in shape.indices.dropLast().reversed() { strides[i] = strides[i + 1] * max(1, shape[i + 1]) }
  return strides
}

extension PickleValue {
  /// This value with another in place of each value directly inside it, taken in the order of the pickle.
  func mapChildren(_ body: (PickleValue) throws -> PickleValue) rethrows -> PickleValue {
    switch self {
    case .list(let values): return .list(try values.map(body))
    case .tuple(let values): return .tuple(try values.map(body))
    case .set(let values): return .set(try values.map(body))
    case .dictionary(let old): return .dictionary(try old.map { PicklePair(try body($0.key), try body($0.value)) })
    case .object(var object):
      object.arguments = try object.arguments.map(body)
      object.items = try object.items.map(body)
      object.pairs = try object.pairs.map { PicklePair(try body($0.key), try body($0.value)) }
      object.state = try object.state.map(body)
      return .object(object)
    case .persistent(let value): return .persistent(try body(value))
    case .null, .bool, .int, .largeInt, .double, .string, .bytes, .global, .tensor: return self
    }
  }
}
