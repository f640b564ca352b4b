import Checkpoints
import Torch

/// A checkpoint's tensors by the names that models declare, whichever way the experts of a layer are stored: each by itself
/// (`….experts.7.gate_proj.weight`, as models are published) or all as one (`….experts.gate_up_proj`
/// `[experts, 2 · inner, hidden]` and `….experts.down_proj` `[experts, hidden, inner]`, as transformers 5 can save them).
struct StoredTensors {
  private let files: WeightFiles
  private let expertCount: Int?

  /// - Parameter expertCount: of the model's mixtures; nil: it has none.
  init(_ files: WeightFiles, expertCount: Int?) { (self.files, self.expertCount) = (files, expertCount) }

  var names: [String] { files.names }

  /// The tensor of the file that holds, or has to hold, a declared one.
  func storedName(_ name: String) -> String { place(name)?.stored ?? name }

  /// Throws, with what is there and what was expected, unless the tensor has this shape.
  func check(_ name: String, shape: [Int]) throws {
    guard let place = place(name) else { return try files.check(name, shape: shape) }
    let found = try files.description(of: place.stored).shape
    let wanted = [expertCount ?? 0, shape[0] * place.parts, shape[1]]
    guard found == wanted else {
      throw ModelError("tensor '\(place.stored)' has shape \(found), but this model's experts have \(wanted)")
    }
  }

  func tensor(_ name: String) throws -> Tensor {
    guard let place = place(name) else { return try files.tensor(name) }
    let rows = try files.tensor(place.stored).select(0, index: place.expert)
    let length = rows.size(0) / place.parts
    return rows.narrow(0, start: place.part * length, length: length)
  }

  /// A part of one expert's rows.
  private struct Place {
    let stored: String
    let expert: Int
    let part: Int
    let parts: Int
  }

  /// Where an expert's tensor is inside of a stacked one; nil: it is no expert's, or stored by itself.
  private func place(_ name: String) -> Place? {
    let parts = name.split(separator: ".")
    guard !files.contains(name), parts.count > 4, parts[parts.count - 4] == "experts", parts.last == "weight",
      let expert = Int(parts[parts.count - 3])
    else { return nil }
    let layout: (name: String, part: Int, parts: Int)
    switch parts[parts.count - 2] {
    case "gate_proj": layout = ("gate_up_proj", 0, 2)
    case "up_proj": layout = ("gate_up_proj", 1, 2)
    case "down_proj": layout = ("down_proj", 0, 1)
    default: return nil
    }
    let stored = (parts.dropLast(3) + [Substring(layout.name)]).joined(separator: ".")
    return files.contains(stored) ? Place(stored: stored, expert: expert, part: layout.part, parts: layout.parts) : nil
  }
}
