import Checkpoints
import Foundation
import Torch

extension PickledTensors {
  /// A pickle of (name, tensor) pairs whose tensors lie in it, as `pickle.dumps` makes it of CPU tensors.
  public static func pickle(_ weights: [(name: String, tensor: Tensor)]) throws -> Data {
    let pairs = try weights.map { weight in
      PickleValue.tuple([.string(weight.name), try value(of: weight.tensor)])
    }
    return Data(try PickleWriter.bytes(of: .list(pairs), .four))
  }

  private static func value(of tensor: Tensor) throws -> PickleValue {
    let shape = tensor.shape
    var strides = [Int](repeating: 1, count: shape.count)
    for i in shape.indices.dropLast().reversed() { strides[i] = strides[i + 1] * max(1, shape[i + 1]) }
    let storageType = PickleGlobal.storageClass(ofElement: tensor.dtype.name)
    let storage = PickleValue.object(
      PickleObject(
        PickleGlobal("torch.storage", "_load_from_bytes"), [.bytes(try legacyStorage(tensor, class: storageType))]))
    let arguments: [PickleValue] = [
      storage, 0, .tuple(shape.map { .int($0) }), .tuple(strides.map { .int($0) }), false,
      .object(PickleObject(PickleGlobal("collections", "OrderedDict"))),
    ]
    guard storageType == nil else {
      return .object(PickleObject(PickleGlobal("torch._utils", "_rebuild_tensor_v2"), arguments))
    }
    let type = PickleValue.global(PickleGlobal("torch", tensor.dtype.name))
    return .object(PickleObject(PickleGlobal("torch._utils", "_rebuild_tensor_v3"), arguments + [type]))
  }

  /// `torch.save` of a storage in its old format.
  private static func legacyStorage(_ tensor: Tensor, class type: PickleGlobal?) throws -> [UInt8] {
    let count = type == nil ? tensor.byteCount : tensor.count
    let sizes: PickleValue = ["short": 2, "int": 4, "long": 4]
    let id: PickleValue = .tuple([
      "storage", .global(type ?? PickleGlobal("torch.storage", "UntypedStorage")), "0", "cpu", .int(count), .null,
    ])
    let parts: [PickleValue] = [
      .largeInt([0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]), 1001,
      ["protocol_version": 1001, "little_endian": true, "type_sizes": sizes], .persistent(id), ["0"],
    ]
    var bytes = try parts.flatMap { try PickleWriter.bytes(of: $0, .two) }
    withUnsafeBytes(of: Int64(count).littleEndian) { bytes += $0 }
    tensor.withBytes { bytes += $0 }
    return bytes
  }
}
