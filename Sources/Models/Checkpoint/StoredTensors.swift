import Checkpoints
import Torch

/// A checkpoint's tensors by the weights that models declare, whichever way they are kept: as the family publishes them,
/// the experts of a layer as one (`….experts.gate_up_proj` `[experts, 2 · inner, hidden]` and `….experts.down_proj`
/// `[experts, hidden, inner]`, as transformers 5 can save them), or quantised.
///
/// Matrices that are stored as e4m3 have their scales beside them (`….weight_scale_inv`, `….weight_scale`); those in MXFP4
/// are two tensors (`…_blocks`, `…_scales`).
struct StoredTensors {
  private let files: WeightFiles
  private let configuration: ModelConfiguration
  /// How matrices are stored as e4m3; nil: none is.
  let scaling: Float8Scaling?

  /// - Throws: what is wrong with the files, or with what config.json says of how they are quantised.
  init(_ folder: HuggingFaceFolder, _ configuration: ModelConfiguration) throws {
    files = try folder.weights()
    self.configuration = configuration
    scaling = try ConfigReader(folder.config, source: folder.configFile.path).quantization()?.scaling
  }

  var names: [String] { files.names }

  /// The tensors of the files that hold, or have to hold, a weight.
  func storedNames(_ piece: ParameterPiece) -> [String] {
    let part = part(piece)
    return isPacked(part) ? PackedFloat4.names(part.name) : [part.name] + (scaleName(part.name).map { [$0] } ?? [])
  }

  /// Throws, with what is there and what was expected, unless the tensor has this shape.
  func check(_ piece: ParameterPiece) throws {
    let part = part(piece)
    guard isPacked(part) else {
      try files.check(part.name, shape: part.shape)
      return try checkScales(piece, part)
    }
    for (name, shape) in zip(PackedFloat4.names(part.name), PackedFloat4.shapes(part.shape)) {
      try files.check(name, shape: shape)
    }
  }

  private func checkScales(_ piece: ParameterPiece, _ part: StoredPart) throws {
    guard let scaling, try isFloat8(piece) else { return }
    guard let place = Float8Place(part), place.knows(scaling) else {
      throw ModelError(
        "tensor '\(part.name)' is stored as \(DType.float8e4m3.name) with \(scaling.name), which cannot be read of what a model of type "
          + "\(configuration.modelType) has there: matrices, or rows of them, are known; take its checkpoint in bf16")
    }
    guard let scaleName = scaleName(part.name) else {
      throw ModelError("tensor '\(part.name)' is stored as \(DType.float8e4m3.name) without its scales '\(part.name)_scale_inv'")
    }
    let found = try files.description(of: scaleName).shape
    let wanted = part.shape.dropLast(2) + scaling.storedShape(rows: part.shape[part.shape.count - 2], columns: part.shape.last!)
    // A scale alone is [], [1] or [1, 1], those of rows [rows] or [rows, 1].
    guard found.filter({ $0 != 1 }) == wanted.filter({ $0 != 1 }) else {
      throw ModelError("tensor '\(scaleName)' has shape \(found), but the scales of this model's '\(part.name)' have \(Array(wanted))")
    }
  }

  /// A weight as numbers: what is stored as e4m3 or in MXFP4 comes in fp32.
  /// - Parameters:
  ///   - dimension, range: the part that is wanted.
  func tensor(_ piece: ParameterPiece, _ dimension: Int = 0, _ range: Range<Int>? = nil) throws -> Tensor {
    func wanted(_ whole: Tensor) -> Tensor {
      range.map { whole.narrow(dimension, start: $0.lowerBound, length: $0.count) } ?? whole
    }
    guard try isFloat8(piece) else { return wanted(try plain(piece)) }
    let whole = try float8(piece)
    if let range, dimension == 0 { return whole.rows(range).dequantized(.float32) }
    return wanted(whole.dequantized(.float32))
  }

  /// Reads what a rank holds of a weight straight into a tensor's memory, where the file has the same bytes in one row.
  /// - Returns: whether it has; if not, nothing was read.
  func read(_ piece: ParameterPiece, into target: Tensor) throws -> Bool {
    let part = part(piece)
    guard target.device.kind == .cpu, target.isContiguous, part.steps.isEmpty, !piece.shape.isEmpty, !isPacked(part),
      piece.slice?.dimension ?? 0 == 0
    else { return false }
    let file = try files.file(holding: part.name)
    let stored = try file.description(of: part.name)
    guard stored.dtype.tensorType == target.dtype, try !isFloat8(piece) else { return false }
    let rowBytes = stored.byteRange.count / max(piece.shape[0], 1)
    let rows = piece.range(0)
    try target.withMutableBytes { memory in
      guard let start = memory.baseAddress else { return }
      try file.read(stored, rows.lowerBound * rowBytes..<rows.upperBound * rowBytes, into: start)
    }
    return true
  }

  private func plain(_ piece: ParameterPiece) throws -> Tensor {
    let part = part(piece)
    guard isPacked(part), case .select(0, let expert)? = part.steps.first else {
      let whole = try files.tensor(part.name)
      return part.steps.isEmpty ? whole : part.cells(of: whole).reshape(piece.shape)
    }
    let packed = try PackedFloat4.names(part.name).map { try files.tensor($0).select(0, index: expert) }
    let one = StoredPart(part.name, Array(part.shape.dropFirst()), Array(part.steps.dropFirst()))
    return one.cells(of: PackedFloat4.unpacked(blocks: packed[0], scales: packed[1]).t()).reshape(piece.shape)
  }

  /// Whether a weight is stored as e4m3 with scales, or in MXFP4.
  func isQuantized(_ piece: ParameterPiece) throws -> Bool { try isPacked(part(piece)) || isFloat8(piece) }

  /// Whether a weight is stored as e4m3 with scales.
  func isFloat8(_ piece: ParameterPiece) throws -> Bool {
    try scaling != nil && files.description(of: part(piece).name).dtype == .float8E4M3
  }

  /// A weight that is stored as e4m3, and was checked.
  func float8(_ piece: ParameterPiece) throws -> Float8Matrix {
    let (part, scaling) = (part(piece), scaling ?? .tensor)
    let (values, scales) = (
      try files.tensor(part.name), try files.tensor(scaleName(part.name) ?? part.name + scaling.scaleSuffix))
    return Float8Place(part)!.matrix(values, scales: scales, scaling)
  }

  /// Whether a weight that is stored as e4m3 can be kept with the scales that it has.
  func keepsBlocks(_ piece: ParameterPiece) -> Bool {
    guard let scaling, let place = Float8Place(part(piece)) else { return false }
    return place.keepsBlocks(scaling)
  }

  private func scaleName(_ stored: String) -> String? {
    scaling == nil ? nil : Float8Scaling.scaleSuffixes.lazy.map { stored + $0 }.first(where: files.contains)
  }

  /// Whether it is stored in MXFP4.
  private func isPacked(_ part: StoredPart) -> Bool {
    !files.contains(part.name) && files.contains(PackedFloat4.names(part.name)[0])
  }

  private func part(_ piece: ParameterPiece) -> StoredPart {
    let known = configuration.storedParts(piece.checkpointName, piece.shape)
    let stacked = WeightName(piece.checkpointName).stackedExperts(piece.shape, configuration)
    let places = known + [StoredPart(piece.checkpointName, piece.shape)] + [stacked].compactMap { $0 }
    let found = places.filter { files.contains($0.name) || isPacked($0) }
    // Tensors of one name are kept in several shapes.
    let fitting = found.count < 2 ? nil : found.first { (try? files.description(of: $0.name).shape) == $0.shape }
    return fitting ?? found.first ?? known[0]
  }
}
