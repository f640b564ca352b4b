import CTorch

// Operators whose result for a row is the same bits whatever other rows stand beside it, how many, and in which order, and
// however many threads compute it. libtorch's own choose kernels by the number of rows, divide sums among threads, or have
// another formula for the last elements of a tensor. They cost more; whoever does not need this uses the others.
extension Tensor {
  /// Rows of a product, on a CPU and on a GPU, where more of them are as fast as fewer.
  private static let tileRows = (cpu: 32, gpu: 256)
  /// Columns that one thread computes at a time.
  private static let tileColumns = 256

  /// x Wᵀ + b, differentiable by all three. `[T, inputs]`, `[outputs, inputs]`, `[outputs]` → `[T, outputs]`
  ///
  /// Its gradients are libtorch's products of the whole.
  public func rowInvariantLinear(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    let (input, matrix) = (detached(), weight.detached())
    let isWanted = (input: requiresGrad, weight: weight.requiresGrad, bias: bias?.requiresGrad ?? false)
    return Tensor.function("RowInvariantLinear", inputs: [self, weight] + (bias.map { [$0] } ?? [])) {
      let product = input.invariantProduct(matrix)
      return [bias.map { product.add_($0.detached()) } ?? product]
    } backward: { gradients in
      guard let gradient = gradients[0] else { return [nil, nil] + (bias == nil ? [] : [nil]) }
      return [isWanted.input ? gradient.mm(matrix) : nil, isWanted.weight ? gradient.t().mm(input) : nil]
        + (bias == nil ? [] : [isWanted.bias ? gradient.sum([0]) : nil])
    }[0]
  }

  private func invariantProduct(_ weight: Tensor) -> Tensor {
    if Kernels.multipliesInvariantly(self, weight) { return Kernels.invariantLinear(self, weight) }
    defer { withExtendedLifetime((self, weight)) {} }
    let rows = device.kind == .cpu ? Self.tileRows.cpu : Self.tileRows.gpu
    return Tensor(owned: ct_linear_by_tiles(handle, weight.handle, Int64(rows), Int64(Self.tileColumns)))
  }

  /// `self[i] · matrices[index[i]]` for each i, without gradients. `[n, a, b]`, `[m, b, c]`, int64 `[n]` → `[n, a, c]`
  public func rowInvariantProducts(_ matrices: Tensor, _ index: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, matrices, index)) {} }
    return Tensor(owned: ct_products(handle, matrices.handle, index.handle))
  }

  /// 1 / (1 + e⁻ˣ), computed in fp32 or wider. Differentiable.
  public func rowInvariantSigmoid() -> Tensor {
    let input = detached()
    return Tensor.function("RowInvariantSigmoid", input: self, forward: { input.wideSigmoid().to(dtype: input.dtype) }) {
      let s = input.wideSigmoid()
      return ($0 * (s * (1 - s))).to(dtype: input.dtype)
    }
  }

  /// x / (1 + e⁻ˣ), computed in fp32 or wider. Differentiable.
  public func rowInvariantSilu() -> Tensor {
    let input = detached()
    return Tensor.function("RowInvariantSilu", input: self, forward: { (input.wide() * input.wideSigmoid()).to(dtype: input.dtype) }) {
      let s = input.wideSigmoid()
      return ($0 * (s * (input.wide() * (1 - s) + 1))).to(dtype: input.dtype)
    }
  }

  private func wideSigmoid() -> Tensor { (wide().neg().exp() + 1).reciprocal() }

  /// Half precision as fp32; what is wider as it is.
  private func wide() -> Tensor { dtype == .bfloat16 || dtype == .float16 ? to(dtype: .float32) : self }

  /// The sum along the last dimension, by halves, without gradients. `[…, n]` → `[…]`
  public func rowInvariantSum() -> Tensor {
    let last = dimensionCount - 1
    var (sums, count) = (self, size(last))
    while count > 1 {
      let half = (count + 1) / 2
      let first = sums.narrow(last, start: 0, length: half).clone()
      first.narrow(last, start: 0, length: count - half).add_(sums.narrow(last, start: half, length: count - half))
      (sums, count) = (first, half)
    }
    return sums.squeeze(last)
  }

  /// The sum along dimension 0, one row after the other, in fp32 or wider. Differentiable.
  public func sumInOrder() -> Tensor {
    let rows = wide().unbind(0)
    return rows.dropFirst().reduce(rows[0]) { $0 + $1 }.to(dtype: dtype)
  }
}
