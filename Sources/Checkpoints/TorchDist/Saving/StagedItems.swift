import Torch

/// Items whose tensors are copies in host memory that nobody else uses, so that another thread can write them while the
/// originals change.
public struct StagedItems: @unchecked Sendable {
  let items: [SaveItem]

  /// Copies all tensors now, from any device. Throws `TorchError` where one cannot be copied.
  public init(copying items: [SaveItem]) throws {
    self.items = try catchingTorchErrors {
      items.map { item in
        guard case .shard(let shard) = item else { return item }
        let copy = shard.tensor.detached().to(device: .cpu, copy: true).contiguous()
        return .shard(
          shard.name, globalShape: shard.globalShape, offsets: shard.offsets, copy, path: shard.path)
      }
    }
  }

  /// Takes tensors that are copies on the host already. From now on the caller must neither change nor use them.
  public init(taking items: [SaveItem]) throws {
    for case .shard(let shard) in items where shard.tensor.device.kind != .cpu {
      throw CheckpointError(
        "tensor '\(shard.name)' is on \(shard.tensor.device); copy it to the host before it is saved in the background")
    }
    self.items = items
  }
}

extension TorchDistWriter {
  /// Writes copies that were made before.
  public func write(_ staged: StagedItems) throws -> RankContents { try write(staged.items) }
}
