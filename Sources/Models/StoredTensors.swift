import Checkpoints
import Torch

/// A checkpoint's tensors by the names that models declare, whichever way the experts of a layer are stored: each by itself
/// (`….experts.7.gate_proj.weight`, as models are published) or all as one (`….experts.gate_up_proj`
/// `[experts, 2 · inner, hidden]` and `….experts.down_proj` `[experts, hidden, inner]`, as transformers 5 can save them).
///
/// Matrices that are stored as e4m3 have their scales beside them (`….weight_scale_inv`, `….weight_scale`).
struct StoredTensors {
  private let files: WeightFiles
  private let expertCount: Int?
  /// How matrices are stored as e4m3; nil: none is.
  let scaling: Float8Scaling?

  /// - Throws: what is wrong with the files, or with what config.json says of how they are quantised.
  init(_ folder: HuggingFaceFolder, _ configuration: ModelConfiguration) throws {
    files = try folder.weights()
    expertCount = configuration.mixture?.expertCount
    scaling = try ConfigReader(folder.config, source: folder.configFile.path).quantization()?.scaling
  }

  var names: [String] { files.names }

  /// The tensors of the file that hold, or have to hold, a declared one.
  func storedNames(_ name: String) -> [String] {
    let stored = place(name)?.stored ?? name
    return [stored] + (scaleName(stored).map { [$0] } ?? [])
  }

  /// Throws, with what is there and what was expected, unless the tensor has this shape.
  func check(_ name: String, shape: [Int]) throws {
    if let place = place(name) {
      let found = try files.description(of: place.stored).shape
      let wanted = [expertCount ?? 0, shape[0] * place.parts, shape[1]]
      guard found == wanted else {
        throw ModelError("tensor '\(place.stored)' has shape \(found), but this model's experts have \(wanted)")
      }
    } else {
      try files.check(name, shape: shape)
    }
    try checkScales(name, shape)
  }

  private func checkScales(_ name: String, _ shape: [Int]) throws {
    guard let scaling, try isFloat8(name) else { return }
    let place = place(name)
    let stored = place?.stored ?? name
    guard let scaleName = scaleName(stored) else {
      throw ModelError("tensor '\(stored)' is stored as \(DType.float8e4m3.name) without its scales '\(stored)_scale_inv'")
    }
    let rows = shape[0] * (place?.parts ?? 1)
    if let place, place.parts > 1, case .block(let height, _) = scaling, shape[0] % height != 0 {
      throw ModelError(
        "tensor '\(stored)' has parts of \(shape[0]) rows, which are not whole blocks of \(height); store each expert by itself")
    }
    let found = try files.description(of: scaleName).shape
    let wanted = (place == nil ? [] : [expertCount ?? 0]) + scaling.storedShape(rows: rows, columns: shape[1])
    // A scale alone is [], [1] or [1, 1], those of rows [rows] or [rows, 1].
    guard found.filter({ $0 != 1 }) == wanted.filter({ $0 != 1 }) else {
      throw ModelError("tensor '\(scaleName)' has shape \(found), but the scales of this model's '\(stored)' have \(wanted)")
    }
  }

  /// A declared tensor as numbers: what is stored as e4m3 comes in fp32.
  /// - Parameters:
  ///   - dimension, range: the part that is wanted.
  func tensor(_ name: String, _ dimension: Int = 0, _ range: Range<Int>? = nil) throws -> Tensor {
    guard try isFloat8(name) else {
      let whole = try plain(name)
      return range.map { whole.narrow(dimension, start: $0.lowerBound, length: $0.count) } ?? whole
    }
    let whole = try float8(name)
    if let range, dimension == 0 { return whole.rows(range).dequantized(.float32) }
    let numbers = whole.dequantized(.float32)
    return range.map { numbers.narrow(dimension, start: $0.lowerBound, length: $0.count) } ?? numbers
  }

  private func plain(_ name: String) throws -> Tensor {
    guard let place = place(name) else { return try files.tensor(name) }
    let rows = try files.tensor(place.stored).select(0, index: place.expert)
    let length = rows.size(0) / place.parts
    return rows.narrow(0, start: place.part * length, length: length)
  }

  /// Whether a declared tensor is stored as e4m3 with scales.
  func isFloat8(_ name: String) throws -> Bool {
    try scaling != nil && files.description(of: place(name)?.stored ?? name).dtype == .float8E4M3
  }

  /// A declared tensor that is stored as e4m3.
  func float8(_ name: String) throws -> Float8Matrix {
    let (place, scaling) = (place(name), scaling ?? .tensor)
    let stored = place?.stored ?? name
    let scales = try files.tensor(scaleName(stored) ?? stored + scaling.scaleSuffix)
    guard let place else { return Float8Matrix(values: try plain(name), stored: scales, scaling) }
    let whole = Float8Matrix(
      values: try files.tensor(stored).select(0, index: place.expert), stored: scales.select(0, index: place.expert), scaling)
    let length = whole.values.size(0) / place.parts
    return whole.rows(place.part * length..<(place.part + 1) * length)
  }

  private func scaleName(_ stored: String) -> String? {
    scaling == nil ? nil : Float8Scaling.scaleSuffixes.lazy.map { stored + $0 }.first(where: files.contains)
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
