import CTorch

/// All layers of a dense model for the rows of a small batch that decodes on a GPU, as one kernel: while a product waits for what
/// it multiplies, the weights that come next are loaded.
public final class FewRowsLayers {
  /// A weight, `[outputs, inputs]`: bf16, or e4m3 with a scale for each output.
  public struct Matrix {
    let weight: Tensor
    /// `[outputs, 1]`, fp32.
    let scales: Tensor?
    let bias: Tensor?

    public init(_ weight: Tensor, bias: Tensor? = nil) { (self.weight, scales, self.bias) = (weight, nil, bias) }

    public init(_ weight: Float8Matrix, bias: Tensor? = nil) {
      (self.weight, scales, self.bias) = (weight.values, weight.scales, bias)
    }

    fileprivate func isKnown(isFloat8: Bool) -> Bool {
      let hasKnownScales = scales.map { $0.dtype == .float32 && $0.size(1) == 1 && $0.isContiguous } ?? true
      return (scales != nil) == isFloat8 && hasKnownScales && weight.dtype == (isFloat8 ? .float8e4m3 : .bfloat16)
        && weight.isContiguous && isPlain(bias)
    }
  }

  /// One layer: x + attention(norm x), then x + feedForward(norm x).
  public struct Layer {
    let inputNorm: Tensor, queryKeyValue: Matrix, queryNorm: Tensor?, keyNorm: Tensor?, output: Matrix
    let middleNorm: Tensor, gateUp: Matrix, down: Matrix, keys: Tensor, values: Tensor

    /// - Parameters:
    ///   - queryNorm: of each head, as `keyNorm`. `[dimension]`
    ///   - gateUp: gates first. `[2 · inner, hidden]`
    ///   - keys: the layer's pages, as `values`. `[slots, keyValueHeads, dimension]`
    public init(
      inputNorm: Tensor, queryKeyValue: Matrix, queryNorm: Tensor?, keyNorm: Tensor?, output: Matrix, middleNorm: Tensor,
      gateUp: Matrix, down: Matrix, keys: Tensor, values: Tensor
    ) {
      (self.inputNorm, self.queryKeyValue, self.queryNorm, self.keyNorm) = (inputNorm, queryKeyValue, queryNorm, keyNorm)
      (self.output, self.middleNorm, self.gateUp, self.down) = (output, middleNorm, gateUp, down)
      (self.keys, self.values) = (keys, values)
    }

    fileprivate func isKnown(isFloat8: Bool) -> Bool {
      [queryKeyValue, output, gateUp, down].allSatisfy { $0.isKnown(isFloat8: isFloat8) }
        && [inputNorm, queryNorm, keyNorm, middleNorm, keys, values].allSatisfy(isPlain)
    }

    /// As the kernel's `Layer`.
    fileprivate var tensors: [Tensor?] {
      func parts(_ matrix: Matrix) -> [Tensor?] { [matrix.weight, matrix.scales, matrix.bias] }
      return parts(queryKeyValue) + parts(output) + parts(gateUp) + parts(down)
        + [inputNorm, middleNorm, queryNorm, keyNorm, keys, values]
    }
  }

  /// The most rows that the kernel takes.
  public let mostRows: Int
  private let layers: [Layer]
  private let shape: ct_dense_layers
  private let pageSize: Int
  private let pointers: Tensor
  private let workspace: Tensor

  /// - Parameters:
  ///   - layers: whose tensors keep their addresses.
  ///   - normEpsilon: of norms of heads, too.
  ///   - scale: what products of queries and keys are multiplied by.
  /// - Returns: nil where the kernel takes no such model.
  public init?(
    _ layers: [Layer], heads: Int, keyValueHeads: Int, normEpsilon: Double, scale: Double, pageSize: Int
  ) {
    guard let first = layers.first else { return nil }
    let isFloat8 = first.down.scales != nil
    guard layers.allSatisfy({ $0.isKnown(isFloat8: isFloat8) }) else { return nil }
    let (down, keys) = (first.down.weight, first.keys)
    shape = ct_dense_layers(
      layers: Int32(layers.count), hidden: Int32(down.size(0)), inner: Int32(down.size(1)), heads: Int32(heads),
      key_value_heads: Int32(keyValueHeads), head: Int32(keys.size(2)), epsilon: normEpsilon, scale: scale, is_float8: isFloat8)
    mostRows = Int(Kernels.table.few_rows_of_layers(shape, Int32(keys.device.index)))
    guard mostRows > 0 else { return nil }
    (self.layers, self.pageSize) = (layers, pageSize)
    let shape = shape
    (pointers, workspace) = withExtendedLifetime(layers) {
      Kernels.pair { Kernels.table.few_rows_layers_room(shape, layers.flatMap { $0.tensors.map { $0?.handle } }, &$0, &$1) }
    }
  }

  /// - Parameters:
  ///   - input: `[rows, hidden]`, at most `mostRows`.
  ///   - cosine: of the rows' positions, `[rows, 1, rotated dimensions]`, as `sine`.
  ///   - table: the contexts, the rows' own tokens included, whose keys and values are written to their pages.
  /// - Returns: `[rows, hidden]`
  public func callAsFunction(_ input: Tensor, cosine: Tensor, sine: Tensor, table: PageTable) -> Tensor {
    withExtendedLifetime((self, input, cosine, sine, table)) {
      Tensor(owned: Kernels.table.few_rows_layers(
        shape, pointers.handle, workspace.handle, input.handle, cosine.handle, sine.handle, table.pages.handle,
        table.lengths.handle, Int32(pageSize)))
    }
  }
}

/// Whether there is none, or the kernel can read it.
private func isPlain(_ tensor: Tensor?) -> Bool { tensor.map { $0.dtype == .bfloat16 && $0.isContiguous } ?? true }
