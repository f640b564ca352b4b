import Torch

/// Runs one block of a model (a transformer layer). FSDP gathers the block's weights around it; gradient checkpointing
/// runs it again in the backward; otherwise it is just called.
public protocol BlockRunner: AnyObject {
  /// - Parameter block: the block's place in the model's order.
  func run(block: Int, input: Tensor, body: @escaping (Tensor) -> Tensor) -> Tensor
}

/// Calls each block, no more.
public final class PlainRunner: BlockRunner {
  public init() {}
  public func run(block: Int, input: Tensor, body: @escaping (Tensor) -> Tensor) -> Tensor { body(input) }
}
