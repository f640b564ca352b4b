import Torch

// The collectives of tensor and sequence parallelism with their gradients (Shoeybi et al., "Megatron-LM", 2019, figure 3;
// Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022, figure 5). Dimension 0 is
// the sequence. Each does nothing in a group of one.
extension ParallelContext {
  /// Into a layer whose weight is split: all tokens, on every tensor-parallel rank.
  public func enteringTensorParallel(_ input: Tensor) -> Tensor {
    sequenceParallel ? input.gatheredFromSequenceParallel(tensor) : input.enteringTensorParallel(tensor)
  }

  /// Out of it, from partial results: whole ones, of this rank's part of the sequence where that is split.
  public func leavingTensorParallel(_ partial: Tensor) -> Tensor {
    sequenceParallel
      ? partial.scatteredToSequenceParallel(tensor, inOrder: isDeterministic)
      : partial.summedOverTensorParallel(tensor, inOrder: isDeterministic)
  }
}

// `inOrder`: sums are of the ranks' parts one after the other, in fp32 or wider; a collective's own order may depend on how
// much is summed and on where in it a number stands.
extension Tensor {
  /// Into a region where each rank computes a part: identity; the gradient is summed over the ranks.
  public func enteringTensorParallel(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("EnterTensorParallel", input: self, forward: { detached() }) { $0.summed(over: group) }
      .remade(as: self)
  }

  /// Out of it: the ranks' partial results are summed; the gradient passes unchanged.
  public func summedOverTensorParallel(_ group: ProcessGroup, inOrder: Bool = false) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function(
      "SumOverTensorParallel", input: self, forward: { detached().summed(over: group, inOrder: inOrder) }) { $0 }
  }

  /// From the sequence's parts to all of it, into a region where each rank computes a part of every token; the gradient
  /// is summed over the ranks, of which each keeps its part of the sequence.
  public func gatheredFromSequenceParallel(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("GatherFromSequenceParallel", input: self, forward: { detached().gathered(from: group) }) {
      $0.reduceScattered(over: group)
    }
  }

  /// Out of such a region: partial results are summed, and each rank keeps its part of the sequence.
  public func scatteredToSequenceParallel(_ group: ProcessGroup, inOrder: Bool = false) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function(
      "ScatterToSequenceParallel", input: self, forward: { detached().reduceScattered(over: group, inOrder: inOrder) }
    ) { $0.gathered(from: group) }
  }

  /// From the sequence's parts to all of it, where every rank then does the same with all of it: the gradient is this
  /// rank's part.
  public func gatheredForAll(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("GatherForAll", input: self, forward: { detached().gathered(from: group) }) {
      $0.ownPart(of: group)
    }
  }

  /// The sum over ranks that go on differently with it: the gradient is summed too.
  public func summedForAll(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("SumForAll", input: self, forward: { detached().summed(over: group) }) {
      $0.summed(over: group)
    }
  }

  /// Rows to other ranks and rows from them, by counts (Megatron-Core's all-to-all token dispatch); the gradient goes the
  /// way back.
  /// - Parameters:
  ///   - sent: rows for each rank, in their order here.
  ///   - received: rows from each rank.
  public func exchangedRows(_ group: ProcessGroup, sent: [Int], received: [Int]) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("ExchangeRows", input: self, forward: { detached().rowsExchanged(group, sent, received) }) {
      $0.rowsExchanged(group, received, sent)
    }
  }

  /// All ranks' rows one after another, of which each rank may have another number, into a region where each rank computes
  /// a part of every row; the gradient is summed over the ranks.
  /// - Parameter counts: rows of each rank.
  public func gatheredRows(_ group: ProcessGroup, counts: [Int]) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("GatherRows", input: self, forward: { detached().rowsGathered(group, counts) }) {
      $0.rowsSummed(group, counts)
    }
  }

  /// Out of such a region: partial results are summed, and each rank keeps its rows.
  public func scatteredRows(_ group: ProcessGroup, counts: [Int], inOrder: Bool = false) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("ScatterRows", input: self, forward: { detached().rowsSummed(group, counts, inOrder) }) {
      $0.rowsGathered(group, counts)
    }
  }

  /// Itself, of the same gradient; where it is differentiated, `loss` is added to what is.
  public func addingGradient(of loss: Tensor) -> Tensor {
    let one = Tensor.ones(loss.shape, dtype: loss.dtype, device: loss.device)
    return Tensor.function("AddLoss", inputs: [self, loss], forward: { [detached()] }) { [$0[0], one] }[0]
  }

  // MARK: Without gradients. What failed earlier stays failed: sizes of a failed tensor must not make a good one.

  /// The sum over the ranks, in memory of its own.
  package func summed(over group: ProcessGroup, inOrder: Bool = false) -> Tensor {
    if inOrder, group.size > 1 { return unsqueeze(0).gathered(from: group).sumInOrder() }
    let sum = contiguous().clone()
    group.allReduce(sum)
    return sum
  }

  /// All ranks' parts along dimension 0.
  package func gathered(from group: ProcessGroup) -> Tensor {
    guard isDefined else { return self }
    let all = Tensor.empty([size(0) * group.size] + shape.dropFirst(), dtype: dtype, device: device)
    group.allGather(contiguous(), into: all)
    return all
  }

  /// Rows by all-to-all, since collectives of equal parts do not take them: as many bytes travel.
  private func rowsExchanged(_ group: ProcessGroup, _ sent: [Int], _ received: [Int]) -> Tensor {
    guard isDefined else { return self }
    let result = Tensor.empty([received.reduce(0, +)] + shape.dropFirst(), dtype: dtype, device: device)
    group.allToAll(contiguous(), into: result, inputSplits: sent, outputSplits: received)
    return result
  }

  private func rowsGathered(_ group: ProcessGroup, _ counts: [Int]) -> Tensor {
    Tensor.cat(Array(repeating: self, count: group.size))
      .rowsExchanged(group, Array(repeating: counts[group.rank], count: group.size), counts)
  }

  private func rowsSummed(_ group: ProcessGroup, _ counts: [Int], _ inOrder: Bool = false) -> Tensor {
    let own = counts[group.rank]
    let parts = rowsExchanged(group, counts, Array(repeating: own, count: group.size))
      .view([group.size, own] + shape.dropFirst())
    return inOrder ? parts.sumInOrder() : parts.sum([0])
  }

  /// This rank's part, along dimension 0, of the sum over the ranks.
  package func reduceScattered(over group: ProcessGroup, inOrder: Bool = false) -> Tensor {
    guard isDefined else { return self }
    if inOrder { return rowsSummed(group, Array(repeating: size(0) / group.size, count: group.size), true) }
    let own = Tensor.empty([size(0) / group.size] + shape.dropFirst(), dtype: dtype, device: device)
    group.reduceScatter(contiguous(), into: own)
    return own
  }

  /// This rank's part along dimension 0.
  package func ownPart(of group: ProcessGroup) -> Tensor {
    let length = size(0) / group.size
    return narrow(0, start: group.rank * length, length: length)
  }
}
