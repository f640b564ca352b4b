import CTorch

/// Attention of one query a row over the pages of its context on a CPU, as `Kernels.decodeAttention` on a GPU.
public enum PageAttention {
  /// Whether `attend` takes queries and caches of this type, and heads of these dimensions.
  public static func takes(_ dtype: DType, on device: Device, dimension: Int, valueDimension: Int) -> Bool {
    device.kind == .cpu && (dtype == .float32 || dtype == .bfloat16) && dimension.isMultiple(of: 8)
      && valueDimension.isMultiple(of: 8)
  }

  /// Sums are fp32. There are no gradients.
  /// - Parameters:
  ///   - query: `[rows, heads, dimension]`
  ///   - keys: `[slots, keyValueHeads, dimension]`
  ///   - values: `[slots, keyValueHeads, valueDimension]`
  ///   - window: tokens that a query sees, the last ones; nil: all.
  ///   - softCap: a score s becomes cap · tanh(s / cap); nil: it stays.
  ///   - sinks: one more score for each head, which brings no value. `[heads]`, nil: none.
  /// - Returns: `[rows, heads, valueDimension]`
  public static func attend(
    query: Tensor, keys: Tensor, values: Tensor, table: PageTable, scale: Double, pageSize: Int, window: Int? = nil,
    softCap: Double? = nil, sinks: Tensor? = nil
  ) -> Tensor {
    let sinks = sinks.map { $0.to(dtype: .float32).contiguous() }
    return withExtendedLifetime((query, keys, values, table, sinks)) {
      Tensor(owned: checked(
        ct_page_attention(
          query.handle, keys.handle, values.handle, table.pages.handle, table.lengths.handle, table.order.handle,
          sinks?.handle, scale, softCap ?? 0, Int64(window ?? 0), Int64(pageSize))))
    }
  }
}
