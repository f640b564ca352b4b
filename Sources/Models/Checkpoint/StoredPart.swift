import Torch

/// Where a checkpoint keeps a weight: a tensor, or a part of one that several weights share.
public struct StoredPart: Sendable, Equatable {
  /// How to come from the whole tensor to the part, as views.
  public enum Step: Sendable, Equatable {
    case unflatten(Int, [Int])
    case select(Int, Int)
    case narrow(Int, start: Int, length: Int)
    /// Every `step`-th element from `start`.
    case every(Int, start: Int, step: Int)
    case transpose
  }

  public let name: String
  /// Of the whole tensor.
  public let shape: [Int]
  public let steps: [Step]

  init(_ name: String, _ shape: [Int], _ steps: [Step] = []) { (self.name, self.shape, self.steps) = (name, shape, steps) }

  /// The part, as a view of the whole tensor that has the weight's elements in their order.
  func cells(of whole: Tensor) -> Tensor { Self.cells(steps, of: whole) }

  static func cells(_ steps: [Step], of whole: Tensor) -> Tensor {
    steps.reduce(whole) { view, step in
      switch step {
      case .unflatten(let dimension, let sizes): view.unflatten(dimension, sizes: sizes)
      case .select(let dimension, let index): view.select(dimension, index: index)
      case .narrow(let dimension, let start, let length): view.narrow(dimension, start: start, length: length)
      case .every(let dimension, let start, let step): view.slice(dimension, start: start, step: step)
      case .transpose: view.transpose(0, dim1: 1)
      }
    }
  }
}

extension StoredPart {
  /// What a rank holds of a weight, as a view of the whole tensor; its elements are those of the rank's part in their order.
  package func part(of whole: Tensor, _ piece: ParameterPiece) -> Tensor {
    let cells = cells(of: whole)
    guard let slice = piece.slice else { return cells }
    let range = slice.range(of: piece.shape[slice.dimension])
    let extra = cells.shape.count - piece.shape.count
    guard extra > 0 else { return cells.narrow(slice.dimension, start: range.lowerBound, length: range.count) }
    // The rows of each head stand by themselves there, and ranks hold whole heads.
    guard slice.dimension == 0 else {
      return cells.narrow(slice.dimension + extra, start: range.lowerBound, length: range.count)
    }
    let rows = cells.shape[1...extra].reduce(1, *)
    return cells.narrow(0, start: range.lowerBound / rows, length: range.count / rows)
  }
}

/// A weight's name, taken apart: `model.layers.3.mlp.experts.7.up_proj.weight`.
struct WeightName {
  let full: String
  /// nil outside the layers.
  let layer: Int?
  /// nil outside of experts.
  let expert: Int?
  /// In the layer, without the expert's number and the last word: `mlp.experts.up_proj`. Outside the layers: all but the
  /// last word.
  let module: String
  /// The last word: `weight`.
  let leaf: String

  init(_ full: String) {
    self.full = full
    layer = CausalLM.layer(of: full)
    var words = full.split(separator: ".").map(String.init)
    leaf = words.removeLast()
    if layer != nil { words.removeFirst(3) }
    let place = words.firstIndex(of: "experts").map { $0 + 1 }
    expert = place.flatMap { $0 < words.count ? Int(words[$0]) : nil }
    if expert != nil, let place { words.remove(at: place) }
    module = words.joined(separator: ".")
  }

  /// Something else in the same layer: `model.layers.3.` and this.
  func inLayer(_ name: String) -> String { "model.layers.\(layer!).\(name)" }

  /// Where an expert's matrix is among all of its layer (`….experts.gate_up_proj` `[experts, 2 · inner, hidden]`,
  /// `….experts.down_proj` `[experts, hidden, inner]`); nil: it is no expert's.
  /// - Parameter shape: of the matrix.
  func stackedExperts(_ shape: [Int], _ model: ModelConfiguration) -> StoredPart? {
    guard let expert, leaf == "weight", shape.count == 2, let count = model.mixture?.expertCount else { return nil }
    let (rows, columns) = (shape[0], shape[1])
    func part(_ stored: String, _ index: Int, of parts: Int) -> StoredPart {
      StoredPart(
        inLayer("mlp.experts." + stored), [count, rows * parts, columns],
        [.select(0, expert), .narrow(0, start: index * rows, length: rows)])
    }
    switch module.split(separator: ".").last {
    case "gate_proj": return part("gate_up_proj", 0, of: 2)
    case "up_proj": return part("gate_up_proj", 1, of: 2)
    case "down_proj": return part("down_proj", 0, of: 1)
    default: return nil
    }
  }
}

/// Where the weights of a model are kept, and how they are put together to be saved.
public struct StoredLayout {
  private let parts: [String: StoredPart]
  /// Weights that a tensor is made of.
  private let counts: [String: Int]
  /// Of all tensors, in the model's order.
  public let tensors: [Entry]

  public struct Entry {
    public let name: String
    public let shape: [Int]
    public let isLearned: Bool
    /// How it is kept as e4m3; nil: it is not.
    public let quantization: Float8Scaling?
  }

  /// - Parameter model: whole. What it keeps as e4m3 are tensors of their own.
  public init(_ model: CausalLM) { self.init(model) { model.configuration.storedPart($1, of: $0) } }

  /// - Parameter place: where a piece of a parameter is kept.
  init(_ model: CausalLM, _ place: (Parameter, ParameterPiece) -> StoredPart) {
    var parts: [String: StoredPart] = [:]
    var counts: [String: Int] = [:]
    var tensors: [Entry] = []
    for parameter in model.table.parameters {
      for piece in parameter.pieces {
        let part = place(parameter, piece)
        parts[piece.checkpointName] = part
        if counts[part.name] == nil {
          tensors.append(
            Entry(
              name: part.name, shape: part.shape, isLearned: parameter.isLearned, quantization: parameter.quantization))
        }
        counts[part.name, default: 0] += 1
      }
    }
    (self.parts, self.counts, self.tensors) = (parts, counts, tensors)
  }

  /// Where a weight of the model is kept.
  func part(_ piece: ParameterPiece) -> StoredPart { parts[piece.checkpointName]! }

  /// Puts weights that come one by one together as checkpoints keep them.
  public func assembly() -> Assembly { Assembly(layout: self) }

  public struct Assembly {
    let layout: StoredLayout
    private var open: [String: (whole: Tensor, missing: Int)] = [:]

    init(layout: StoredLayout) { self.layout = layout }

    /// The tensor that is whole with this weight; nil: others are missing.
    /// - Parameter name: as the model calls the weight.
    public mutating func add(_ name: String, _ weight: Tensor) -> (name: String, tensor: Tensor)? {
      guard let part = layout.parts[name] else { return (name, weight) }
      guard !part.steps.isEmpty else { return (part.name, weight) }
      return withoutGradients {
        var entry = open[part.name]
          ?? (.empty(part.shape, dtype: weight.dtype, device: weight.device), layout.counts[part.name]!)
        let cells = part.cells(of: entry.whole)
        cells.copy_(weight.reshape(cells.shape))
        entry.missing -= 1
        open[part.name] = entry.missing == 0 ? nil : entry
        return entry.missing == 0 ? (part.name, entry.whole) : nil
      }
    }
  }
}
