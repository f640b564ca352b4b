import Parallelism
import Torch

/// How query, key and value become the attention's output: packed sequences in training, pages in the engine.
public protocol AttentionBackend: AnyObject {
  /// - Parameters:
  ///   - query: `[T, heads, headDimension]`, rotated.
  ///   - key: `[T, keyValueHeads, headDimension]`, rotated.
  ///   - value: `[T, keyValueHeads, valueHeadDimension]`
  ///   - scale: what products of queries and keys are multiplied by.
  ///   - rule: what is special about the layer's attention.
  /// - Returns: `[T, heads, valueHeadDimension]`.
  func attend(query: Tensor, key: Tensor, value: Tensor, layer: Int, scale: Double, rule: AttentionRule) -> Tensor

  /// Runs a layer that goes along each sequence with a state, where attention looks back.
  /// - Parameters:
  ///   - input: `[T, width]`
  ///   - parameters: what `scan` differentiates besides.
  ///   - scan: is given whole sequences, or what comes next of each and the states before.
  /// - Returns: what `scan` makes of the tokens, `[T, …]`.
  func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor
}

/// Goes along sequences that lie one after another.
/// - Parameters:
///   - rows: `[tokens, width]`
///   - states: of each sequence before its first token; nil: they begin, and nobody wants to know how they end.
/// - Returns: `[tokens, …]`, and the states after the last tokens; nil where none were given.
public typealias SequenceScan = (
  _ rows: Tensor, _ sequences: SequenceRows, _ states: RecurrentStates?
) -> (output: Tensor, states: RecurrentStates?)

/// What a layer of gated delta rule knows of sequences besides their next tokens.
public struct RecurrentStates {
  /// The last inputs of the convolution. `[sequences, taps - 1, channels]`
  public let window: Tensor
  /// fp32 `[sequences, valueHeads, keyDimension, valueDimension]`
  public let memory: Tensor

  public init(window: Tensor, memory: Tensor) { (self.window, self.memory) = (window, memory) }
}

extension AttentionBackend {
  /// With the usual scale, 1 / √headDimension.
  public func attend(
    query: Tensor, key: Tensor, value: Tensor, layer: Int, rule: AttentionRule = .plain
  ) -> Tensor {
    attend(
      query: query, key: key, value: value, layer: layer, scale: 1 / Double(query.size(2)).squareRoot(), rule: rule)
  }

  /// Of attention that only models are given whose layers all look back.
  public func recur(_ input: Tensor, parameters: [Tensor], layer: Int, _ scan: @escaping SequenceScan) -> Tensor {
    preconditionFailure("\(Self.self) keeps no states, and layer \(layer) has one")
  }
}

/// Tokens of one sequence that follow one another in a forward pass.
public struct SequencePart: Sendable, Equatable {
  /// Here.
  public var count: Int
  /// On all ranks, without padding.
  public var sequenceLength: Int

  public init(count: Int, sequenceLength: Int) { (self.count, self.sequenceLength) = (count, sequenceLength) }
}

/// What one forward pass is given besides the tokens.
public struct ForwardContext {
  /// Position of each token in its sequence. `[T]`, int64; in time, height and width: `[3, T]`
  public let positions: Tensor
  /// The sequences that the tokens are of, in order, where rotary frequencies may depend on their lengths; empty: none is
  /// longer than the model's original context.
  public let sequenceParts: [SequencePart]
  public let attention: any AttentionBackend
  public let runner: any BlockRunner
  /// Whether layers may use `Kernels` for several operators at once.
  public let fusesOperators: Bool
  /// What runs all layers at once, and the rows' contexts; nil: they run one by one.
  public var fewRows: (layers: FewRowsLayers, contexts: PageTable)?
  /// Which experts the tokens go to, or room to note it; nil: nobody wants to know.
  public var routing: RoutingRecord?
  /// What routers add to the loss; nil: nothing.
  public var routerLosses: RouterLosses?
  /// nil: there are no pictures.
  public var images: ImageInputs?
  /// Collects the inputs of layers; nil: nobody wants to know.
  public var layerInputs: LayerInputs?

  public init(
    positions: Tensor, sequenceParts: [SequencePart] = [], attention: any AttentionBackend, runner: any BlockRunner = PlainRunner(),
    routing: RoutingRecord? = nil, routerLosses: RouterLosses? = nil, fusesOperators: Bool = false
  ) {
    self.fusesOperators = fusesOperators
    (self.positions, self.attention, self.runner) = (positions, attention, runner)
    self.sequenceParts = sequenceParts
    (self.routing, self.routerLosses) = (routing, routerLosses)
  }
}
