import Torch

// The trained values from outside: filled from a checkpoint, whole for saving and weight update, and by rows.
extension ShardedUnit {
  /// Fills this rank's rows from whole parameters, one at a time; `value` is asked for a parameter's full tensor only
  /// where some of its rows lie here.
  public func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    try withoutGradients {
      for sharded in parameters {
        let rows = sharded.rows(of: rank)
        guard !rows.isEmpty else { continue }
        let whole = try value(sharded.parameter).contiguous().view([sharded.rowCount, sharded.width])
        sharded.rows(of: rank, in: shard.detached()).copy_(whole[rows])
      }
    }
  }

  /// This rank's rows of each parameter in a vector laid out as the shard (the weights, a moment), as views.
  /// `[rows.count, width]`
  public func rows(in vector: Tensor) -> [(parameter: ShardedParameter, rows: Range<Int>, values: Tensor)] {
    parameters.map { ($0, $0.rows(of: rank), $0.rows(of: rank, in: vector)) }
  }

  /// Each parameter whole and in fp32. Every rank must call it, in the same order.
  public func whole(on device: Device) -> [(Parameter, Tensor)] {
    withoutGradients {
      let own = shard.detached().to(device: device)
      let all = own.gathered(from: group).view([group.size, length])
      return parameters.map { sharded in
        let whole = Tensor.empty(sharded.parameter.shape, device: device)
        for place in sharded.places(in: whole, and: all) { place.whole.copy_(place.shards) }
        return (sharded.parameter, whole)
      }
    }
  }
}
