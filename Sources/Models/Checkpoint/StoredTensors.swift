import Checkpoints
import Torch

/// A checkpoint's tensors by the weights that models declare, whichever way they are kept: as the family publishes them,
/// the experts of a layer as one (`….experts.gate_up_proj` `[experts, 2 · inner, hidden]` and `….experts.down_proj`
/// `[experts, hidden, inner]`, as transformers 5 can save them), or quantised.
struct StoredTensors {
  private let files: WeightFiles
  private let configuration: ModelConfiguration

  init(_ files: WeightFiles, _ configuration: ModelConfiguration) { (self.files, self.configuration) = (files, configuration) }

  var names: [String] { files.names }

  /// The tensors of the files that hold, or have to hold, a weight.
  func storedNames(_ piece: ParameterPiece) -> [String] {
    let part = part(piece)
    return isQuantised(part) ? PackedFloat4.names(part.name) : [part.name]
  }

  /// Throws, with what is there and what was expected, unless the tensor has this shape.
  func check(_ piece: ParameterPiece) throws {
    let part = part(piece)
    guard isQuantised(part) else { return try files.check(part.name, shape: part.shape) }
    for (name, shape) in zip(PackedFloat4.names(part.name), PackedFloat4.shapes(part.shape)) {
      try files.check(name, shape: shape)
    }
  }

  func tensor(_ piece: ParameterPiece) throws -> Tensor {
    let part = part(piece)
    guard isQuantised(part), case .select(0, let expert)? = part.steps.first else {
      let whole = try files.tensor(part.name)
      return part.steps.isEmpty ? whole : part.cells(of: whole).reshape(piece.shape)
    }
    let packed = try PackedFloat4.names(part.name).map { try files.tensor($0).select(0, index: expert) }
    let one = StoredPart(part.name, Array(part.shape.dropFirst()), Array(part.steps.dropFirst()))
    return one.cells(of: PackedFloat4.unpacked(blocks: packed[0], scales: packed[1]).t()).reshape(piece.shape)
  }

  private func isQuantised(_ part: StoredPart) -> Bool {
    !files.contains(part.name) && files.contains(PackedFloat4.names(part.name)[0])
  }

  private func part(_ piece: ParameterPiece) -> StoredPart {
    let known = configuration.storedParts(piece.checkpointName, piece.shape)
    let places = known + [StoredPart(piece.checkpointName, piece.shape)] + [stackedExperts(piece)].compactMap { $0 }
    return places.first { files.contains($0.name) || isQuantised($0) } ?? known[0]
  }

  /// Where an expert's matrix is inside of a stacked one; nil: it is no expert's.
  private func stackedExperts(_ piece: ParameterPiece) -> StoredPart? {
    let name = WeightName(piece.checkpointName)
    guard let expert = name.expert, name.leaf == "weight", let count = configuration.mixture?.expertCount else { return nil }
    let (rows, columns) = (piece.shape[0], piece.shape[1])
    func part(_ stored: String, _ index: Int, of parts: Int) -> StoredPart {
      StoredPart(
        name.inLayer("mlp.experts." + stored), [count, rows * parts, columns],
        [.select(0, expert), .narrow(0, start: index * rows, length: rows)])
    }
    switch name.module.split(separator: ".").last {
    case "gate_proj": return part("gate_up_proj", 0, of: 2)
    case "up_proj": return part("gate_up_proj", 1, of: 2)
    case "down_proj": return part("down_proj", 0, of: 1)
    default: return nil
    }
  }
}
