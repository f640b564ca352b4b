/// How FSDP trains a model, besides the layout of ranks.
public struct FSDPOptions: Sendable, Equatable, Codable {
  /// Trained weights, gradients and the optimizer stay in host memory; weights are copied to the device where they are
  /// used (`--fsdp-cpu-offload`).
  public var offloadsToHost = false
  /// Of fp16.
  public var lossScale = DynamicLossScale.Options()

  public init() {}
}
