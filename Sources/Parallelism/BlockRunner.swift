import Torch

/// Runs the blocks of a model (transformer layers), one or several at a time. FSDP gathers a block's weights around it;
/// recomputation runs it again in the backward; otherwise it is just called.
public protocol BlockRunner: AnyObject {
  /// How many consecutive blocks are run as one.
  var groupSize: Int { get }

  /// Whether blocks may run a second time, in the backward pass.
  var runsAgain: Bool { get }

  /// - Parameters:
  ///   - blocks: places in the order of this rank's blocks.
  ///   - parameters: what `body` differentiates besides `input`.
  func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor
}

extension BlockRunner {
  public var groupSize: Int { 1 }
  public var runsAgain: Bool { false }
}

/// Calls each block, no more.
public final class PlainRunner: BlockRunner {
  public init() {}
  public func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor {
    body(input)
  }
}

/// Runs some blocks again in the backward instead of keeping their activations.
public final class RecomputingRunner: BlockRunner {
  private let recomputation: Recomputation

  public init(_ recomputation: Recomputation) { self.recomputation = recomputation }

  public var groupSize: Int {
    if case .uniform(let layers) = recomputation { layers } else { 1 }
  }

  public var runsAgain: Bool { recomputation != .none && recomputation != .selective }

  private func isRecomputed(_ blocks: Range<Int>) -> Bool {
    switch recomputation {
    case .none, .selective: false
    case .uniform: true
    case .block(let layers): blocks.lowerBound < layers
    }
  }

  public func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor {
    guard isRecomputed(blocks) else { return body(input) }
    return Tensor.checkpoint("RecomputedBlocks", input: input, parameters: parameters, body: body)
  }
}
