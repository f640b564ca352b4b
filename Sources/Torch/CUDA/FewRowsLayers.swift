import CTorch

/// All layers of a dense model for the rows of a small batch that decodes on a GPU, as one kernel: while a product waits for what
/// it multiplies, the weights that come next are loaded.
public final class FewRowsLayers {
  /// One layer: x + attention(norm x), then x + feedForward(norm x). Weights in bf16, `[outputs, inputs]`, contiguous.
  public struct Layer {
    let tensors: [Tensor?]

    /// - Parameters:
    ///   - queryNorm: of each head, as `keyNorm`. `[dimension]`
    ///   - gateUp: gates first. `[2 · inner, hidden]`
    ///   - keys: the layer's pages, as `values`. `[slots, keyValueHeads, dimension]`
    public init(
      inputNorm: Tensor, queryKeyValue: (weight: Tensor, bias: Tensor?), queryNorm: Tensor?, keyNorm: Tensor?,
      output: (weight: Tensor, bias: Tensor?), middleNorm: Tensor, gateUp: (weight: Tensor, bias: Tensor?),
      down: (weight: Tensor, bias: Tensor?), keys: Tensor, values: Tensor
    ) {
      tensors = [
        inputNorm, queryKeyValue.weight, queryKeyValue.bias, queryNorm, keyNorm, output.weight, output.bias, middleNorm,
        gateUp.weight, gateUp.bias, down.weight, down.bias, keys, values,
      ]
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
  ///   - headNormEpsilon: of the norms of queries and keys.
  ///   - scale: what products of queries and keys are multiplied by.
  /// - Returns: nil where the kernel takes no such model.
  public init?(
    _ layers: [Layer], heads: Int, keyValueHeads: Int, normEpsilon: Double, headNormEpsilon: Double, scale: Double, pageSize: Int
  ) {
    guard let first = layers.first, let down = first.tensors[10], let keys = first.tensors[12],
      layers.allSatisfy({ $0.tensors.allSatisfy { $0.map { $0.dtype == .bfloat16 && $0.isContiguous } ?? true } })
    else { return nil }
    shape = ct_dense_layers(
      layers: Int32(layers.count), hidden: Int32(down.size(0)), inner: Int32(down.size(1)), heads: Int32(heads),
      key_value_heads: Int32(keyValueHeads), head: Int32(keys.size(2)), epsilon: normEpsilon, head_epsilon: headNormEpsilon,
      scale: scale)
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
