/// A matrix of e4m3 numbers with fp32 scales: what it stands for is each number times the scale of its group.
///
/// Every row has scales of its own here, also where a checkpoint stores one for several rows, so that any rows can be cut
/// out and any matrices laid one below another.
public struct Float8Matrix {
  /// `[rows, columns]`, e4m3.
  public let values: Tensor
  /// `[rows, groups]`, fp32.
  public let scales: Tensor
  /// Numbers of a row that share a scale; nil: all.
  public let groupSize: Int?

  /// The largest number that e4m3 holds.
  public static let largest = 448.0
  /// What is below counts as zero: its factor would be no fp32 number.
  private static let smallest = 1e-30

  public init(values: Tensor, scales: Tensor, groupSize: Int?) {
    (self.values, self.scales, self.groupSize) = (values, scales, groupSize)
  }

  /// - Parameter stored: the scales as a checkpoint has them, of any floating-point type.
  public init(values: Tensor, stored: Tensor, _ scaling: Float8Scaling) {
    let rows = values.size(0)
    let scales = stored.to(dtype: .float32)
    switch scaling {
    case .tensor: self.init(values: values, scales: scales.reshape([1, 1]).expand([rows, 1]).contiguous(), groupSize: nil)
    case .row: self.init(values: values, scales: scales.reshape([rows, 1]), groupSize: nil)
    case .block(let height, let columns):
      self.init(
        values: values, scales: scales.repeatInterleave(height, dim: 0).narrow(0, start: 0, length: rows).contiguous(),
        groupSize: columns)
    }
  }

  /// The nearest numbers, with the largest of each group at e4m3's largest (`transformers`, FineGrainedFP8: a group of
  /// nothing but zeros has scale 1).
  /// - Parameter matrix: `[rows, columns]`, of any floating-point type.
  public init(quantizing matrix: Tensor, _ scaling: Float8Scaling) {
    guard Kernels.quantize(matrix) else {
      self = .quantized(matrix, scaling)
      return
    }
    let (values, scales) = Kernels.quantized(matrix, scaling)
    self.init(values: values, scales: scales, groupSize: scaling.groupSize)
  }

  /// The same by operators.
  package static func quantized(_ matrix: Tensor, _ scaling: Float8Scaling) -> Float8Matrix {
    let (rows, columns) = (matrix.size(0), matrix.size(1))
    let (height, width) =
      switch scaling {
      case .tensor: (max(rows, 1), columns)
      case .row: (1, columns)
      case .block(let height, let width): (height, width)
      }
    let blocks = blocks(matrix.to(dtype: .float32), height, width)
    let largest = blocks.abs().amax([1, 3], keepdim: true)
    let factors = (Self.largest / largest).maskedFill(largest.lt(smallest), value: 1)
    let values = (blocks * factors).clamped(-Self.largest, max: Self.largest).to(dtype: .float8e4m3)
      .view([blocks.size(0) * height, blocks.size(2) * width]).narrow(0, start: 0, length: rows)
      .narrow(1, start: 0, length: columns).contiguous()
    let scales = factors.reciprocal().view([blocks.size(0), blocks.size(2)])
    return Float8Matrix(
      values: values,
      scales: height == 1
        ? scales : scales.repeatInterleave(height, dim: 0).narrow(0, start: 0, length: rows).contiguous(),
      groupSize: scaling.groupSize)
  }

  /// `[rows / height, height, columns / width, width]`, filled up with zeros.
  private static func blocks(_ matrix: Tensor, _ height: Int, _ width: Int) -> Tensor {
    let (rows, columns) = (matrix.size(0), matrix.size(1))
    let (down, across) = ((rows + height - 1) / height, (columns + width - 1) / width)
    let isWhole = down * height == rows && across * width == columns
    let padded = isWhole ? matrix : matrix.constantPadNd([0, across * width - columns, 0, down * height - rows])
    return padded.reshape([down, height, across, width])
  }

  /// What the numbers stand for: their products with the scales in fp32, rounded to `dtype`.
  public func dequantized(_ dtype: DType) -> Tensor {
    let numbers = values.to(dtype: .float32)
    guard let groupSize, scales.size(1) > 1 else { return (numbers * scales).to(dtype: dtype) }
    let (rows, columns) = (values.size(0), values.size(1))
    let groups = Self.blocks(numbers, 1, groupSize)
    let products = (groups * scales.view([rows, 1, scales.size(1), 1])).view([rows, scales.size(1) * groupSize])
    return products.narrow(1, start: 0, length: columns).to(dtype: dtype).contiguous()
  }

  /// A copy on a device, on a GPU with its scales as products take those of groups, column by column.
  public func copied(to device: Device) -> Float8Matrix {
    let scales = scales.to(device: device, copy: true)
    return Float8Matrix(
      values: values.to(device: device, copy: true).contiguous(),
      scales: device.kind == .cuda ? scales.columnwise : scales.contiguous(), groupSize: groupSize)
  }

  /// Some rows, as views.
  public func rows(_ range: Range<Int>) -> Float8Matrix {
    Float8Matrix(values: values[range], scales: scales[range], groupSize: groupSize)
  }

  /// Some columns, as views; the first must begin a group.
  public func columns(_ range: Range<Int>) -> Float8Matrix {
    let groups = Self.groups(of: range, groupSize)
    return Float8Matrix(
      values: values.narrow(1, start: range.lowerBound, length: range.count),
      scales: scales.narrow(1, start: groups.lowerBound, length: groups.count), groupSize: groupSize)
  }

  /// The groups of a row that hold some columns.
  public static func groups(of columns: Range<Int>, _ groupSize: Int?) -> Range<Int> {
    guard let groupSize else { return 0..<1 }
    return columns.lowerBound / groupSize..<(columns.upperBound + groupSize - 1) / groupSize
  }

  /// Matrices one below another.
  public static func joined(_ parts: [Float8Matrix]) -> Float8Matrix {
    guard parts.count > 1 else { return parts[0] }
    return Float8Matrix(
      values: .cat(parts.map(\.values), dim: 0), scales: .cat(parts.map(\.scales), dim: 0), groupSize: parts[0].groupSize)
  }

  /// The scales of a whole matrix as a checkpoint has them.
  public func storedScales(_ scaling: Float8Scaling) -> Tensor {
    switch scaling {
    case .tensor: scales[0..<1].reshape([1])
    case .row: scales
    case .block(let height, _): scales.slice(0, start: 0, end: nil, step: height).contiguous()
    }
  }
}

extension Tensor {
  /// The same matrix, whose columns lie in memory one after another; itself where they do.
  var columnwise: Tensor { strides == [1, size(0)] ? self : t().contiguous().t() }
}
