import Torch

/// Sums the gradients of weights that tensor-parallel ranks hold alike but use on different tokens or heads (norms under
/// sequence parallelism, key-value heads that several ranks share), in one collective.
struct PartialGradients {
  private let group: ProcessGroup
  /// Views of the gradients, each with how many different slices of its tensor the ranks hold.
  private let parts: [(gradient: Tensor, sliceCount: Int)]

  init(_ buffers: [ParameterBuffer], group: ProcessGroup) {
    self.group = group
    var parts: [(Tensor, Int)] = []
    for buffer in group.size > 1 ? buffers : [] {
      for (index, parameter) in buffer.parameters.enumerated() where parameter.sharing.gradientIsPartial {
        for (piece, rows) in parameter.rows {
          let sliceCount = piece.slice?.count ?? 1
          if sliceCount < group.size { parts.append((buffer.gradient(index)[rows], sliceCount)) }
        }
      }
    }
    self.parts = parts
  }

  func sum() {
    guard !parts.isEmpty else { return }
    withoutGradients {
      // A place for every slice of every tensor, of which this rank fills its own.
      let all = Tensor.zeros([parts.reduce(0) { $0 + $1.gradient.count * $1.sliceCount }], device: parts[0].gradient.device)
      var places: [Tensor] = []
      var start = 0
      for (gradient, sliceCount) in parts {
        let own = start + group.rank * sliceCount / group.size * gradient.count
        places.append(all[own..<own + gradient.count].view(gradient.shape))
        places.last!.copy_(gradient)
        start += gradient.count * sliceCount
      }
      group.allReduce(all)
      for ((gradient, _), place) in zip(parts, places) { gradient.copy_(place) }
    }
  }
}
