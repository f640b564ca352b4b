import Foundation
import Inference
import Models
import Parallelism
import Torch

/// Our kernels on a GPU: how far each is from plain operators on the same random numbers, and how much of the memory's
/// bandwidth it uses.
public enum KernelsBenchmark {
  public struct Row: Sendable, Encodable {
    public var kernel: String
    public var shape: String
    /// ‖kernel − operators in fp32‖ / ‖operators in fp32‖; of what is sampled, the share of rows with another token.
    public var error: Double
    /// Of operators in the kernel's own type.
    public var operatorError: Double
    public var microseconds: Double
    public var operatorMicroseconds: Double
    /// What must be read and written.
    public var bytes: Int

    public var bandwidth: Double { Double(bytes) / microseconds * 1e6 }
  }

  /// - Throws: `BenchmarkError` where there is no GPU, or naming a kernel that is further from the truth than operators are.
  public static func run(device: Device = .cuda(0)) throws -> [Row] {
    try Runtime.open(device, for: "slime bench kernels")
    guard Kernels.run(on: device, .bfloat16) else {
      throw BenchmarkError("there are no kernels on \(device): a GPU and libCTorchCUDA.so beside the executable are needed")
    }
    var rows: [Row] = []
    try withoutGradients {
      try catchingTorchErrors {
        for (count, width) in [(1, 1024), (64, 2560), (4096, 4096)] {
          rows.append(try addNorm(device, rows: count, width: width))
        }
        for (count, outputs, inputs) in [
          (1, 6144, 1024), (1, 19_456, 2560), (1, 2560, 9728), (2, 2560, 9728), (4, 6144, 2560), (3, 77, 72),
        ] {
          rows.append(try fewRowsLinear(device, rows: count, outputs: outputs, inputs: inputs))
        }
        for count in [1, 4] {
          for (outputs, inputs) in [(6144, 1024), (1024, 3072), (19_456, 2560), (2560, 9728), (151_936, 1024)] {
            rows.append(try invariantLinear(device, rows: count, outputs: outputs, inputs: inputs))
          }
        }
        for (count, outputs, inputs, isInvariant) in [
          (1, 6144, 2560, false), (2, 19_456, 2560, false), (4, 77, 1000, false), (1, 4096, 1024, true), (1, 6144, 1024, true),
          (4, 6144, 1024, true), (1, 19_456, 2560, true),
        ] {
          rows.append(
            try normedFewRowsLinear(device, rows: count, outputs: outputs, inputs: inputs, isInvariant: isInvariant))
        }
        for (count, outputs, inputs, isInvariant) in [
          (1, 2560, 9728, false), (2, 1024, 3072, false), (3, 77, 72, false), (1, 1024, 3072, true), (4, 1024, 3072, true),
          (1, 2560, 9728, true),
        ] {
          rows.append(try gatedFewRowsLinear(device, rows: count, outputs: outputs, inputs: inputs, isInvariant: isInvariant))
        }
        for (count, outputs, inputs, scaling) in [
          (1, 6144, 2560, Float8Scaling.row), (1, 19_456, 2560, .row), (1, 2560, 4096, .row), (1, 2560, 9728, .row),
          (4, 2560, 9728, .row), (8, 6144, 2560, .row), (3, 77, 80, .row), (1, 19_456, 2560, .publishedBlock),
          (4, 2560, 9728, .publishedBlock), (64, 6144, 2560, .row), (64, 6144, 2560, .publishedBlock),
        ] {
          rows.append(try float8Linear(device, rows: count, outputs: outputs, inputs: inputs, scaling))
        }
        for (count, width) in [(1, 3072), (64, 9728), (4096, 9728)] {
          rows.append(try siluMultiply(device, rows: count, width: width))
        }
        for (count, heads, keyHeads, dimension) in [(1, 16, 8, 128), (64, 32, 8, 128), (256, 8, 1, 64)] {
          rows.append(try normRotate(device, rows: count, heads: heads, keyHeads: keyHeads, dimension: dimension))
        }
        for (count, heads, keyValueHeads, dimension, longest) in [
          (1, 16, 8, 128, 1000), (1, 32, 8, 128, 8000), (64, 16, 8, 128, 1024), (256, 32, 8, 128, 700),
          (3, 6, 2, 64, 333), (5, 16, 1, 256, 77), (7, 28, 4, 128, 129),
        ] {
          for isInvariant in [false, true] {
            rows.append(
              try decodeAttention(
                device, rows: count, heads: heads, keyValueHeads: keyValueHeads, dimension: dimension, longest: longest,
                isInvariant: isInvariant))
          }
        }
        for model in layersCases { rows.append(try fewRowsLayers(device, model)) }
        for (count, outputs, inputs) in [(8192, 19_456, 2560), (8192, 2560, 9728), (16_384, 4096, 1024), (1024, 151_936, 1024)] {
          rows.append(try largeProduct(device, rows: count, outputs: outputs, inputs: inputs))
        }
        for count in [1, 4096] { rows.append(try embed(device, rows: count, width: 1024)) }
        for (count, columns) in [(1, 151_936), (64, 151_936), (256, 50_001)] {
          rows.append(try sample(device, rows: count, columns: columns))
        }
        for (count, columns, scaling) in [
          (9728, 2560, Float8Scaling.publishedBlock), (300, 1000, .publishedBlock), (77, 201, .block(rows: 16, columns: 16)),
          (64, 2560, .block(rows: 1, columns: 128)), (1, 9728, .row), (4096, 9728, .row), (1001, 333, .tensor), (4096, 2560, .tensor),
        ] {
          rows.append(try quantize(device, rows: count, columns: columns, scaling))
        }
        rows += try training(device)
      }
    }
    if let wrong = rows.first(where: { !($0.error <= max(1.5 * $0.operatorError, 1e-6)) }) {
      throw BenchmarkError("\(wrong.kernel) \(wrong.shape) is off by \(wrong.error), operators by \(wrong.operatorError)")
    }
    return rows
  }

  public static func table(_ rows: [Row]) -> String {
    (["kernel | shape | error | of operators | µs | of operators | GB/s"] + rows.map {
      String(
        format: "%@ | %@ | %.2e | %.2e | %.1f | %.1f | %.0f", $0.kernel, $0.shape, $0.error, $0.operatorError,
        $0.microseconds, $0.operatorMicroseconds, $0.bandwidth / 1e9)
    }).joined(separator: "\n")
  }

  // MARK: Kernels

  private static func addNorm(_ device: Device, rows: Int, width: Int) throws -> Row {
    let (input, delta, weight) = (noise([rows, width], device), noise([rows, width], device), noise([width], device))
    func operators(_ dtype: DType) -> Tensor {
      let sum = input.to(dtype: dtype) + delta.to(dtype: dtype)
      return sum.rmsNorm([width], weight: weight.to(dtype: dtype), eps: 1e-6)
    }
    // The sum is rounded before it is normed, in both.
    let truth = (input + delta).to(dtype: .float32).rmsNorm([width], weight: weight.to(dtype: .float32), eps: 1e-6)
    return try row(
      "add_norm", "\(rows) x \(width)", bytes: rows * width * 8, truth: truth, device: device,
      kernel: { Kernels.addNorm(input, delta, weight: weight, epsilon: 1e-6).normed }, operators: { operators(.bfloat16) })
  }

  private static func largeProduct(_ device: Device, rows: Int, outputs: Int, inputs: Int) throws -> Row {
    let (input, weight) = (noise([rows, inputs], device), noise([outputs, inputs], device))
    return try row(
      "product", "\(rows) x \(outputs) x \(inputs)", bytes: 2 * (rows * inputs + outputs * inputs + rows * outputs),
      truth: input.to(dtype: .float32).linear(weight.to(dtype: .float32)), device: device,
      kernel: { input.linearWithoutGradients(weight) }, operators: { input.linear(weight) })
  }

  private static func embed(_ device: Device, rows: Int, width: Int) throws -> Row {
    let (weight, frequencies) = (noise([151_936, width], device), Tensor.rand([64], device: device))
    let tokens = Tensor((0..<rows).map { $0 * 7919 % 151_936 }).to(device: device)
    let positions = Tensor((0..<rows).map { $0 * 31 }).to(device: device)
    func operators() -> [Tensor] {
      let half = positions.to(dtype: .float32).unsqueeze(1) * frequencies.unsqueeze(0)
      let angles = Tensor.cat([half, half], dim: 1).unsqueeze(1)
      return [Tensor.embedding(weight, indices: tokens)] + [angles.cos(), angles.sin()].map { ($0 * 1.25).to(dtype: .bfloat16) }
    }
    func found() -> [Tensor] {
      let (hidden, cosine, sine) = Kernels.embed(tokens, weight: weight, positions: positions, frequencies: frequencies, magnitude: 1.25)
      return [hidden, cosine, sine]
    }
    guard zip(found(), operators()).allSatisfy({ $0.equal($1) }) else {
      throw BenchmarkError("embed \(rows) x \(width): not the bits of operators")
    }
    return try row(
      "embed", "\(rows) x \(width)", bytes: rows * width * 4, truth: operators()[0].to(dtype: .float32), device: device,
      kernel: { found()[0] }, operators: { operators()[0] })
  }

  private static func siluMultiply(_ device: Device, rows: Int, width: Int) throws -> Row {
    let both = noise([rows, 2 * width], device)
    func operators(_ dtype: DType) -> Tensor {
      let parts = both.to(dtype: dtype).chunk(2, dim: 1)
      return parts[0].silu() * parts[1]
    }
    return try row(
      "silu_multiply", "\(rows) x \(width)", bytes: rows * width * 6, truth: operators(.float32), device: device,
      kernel: { Kernels.siluMultiply(both) }, operators: { operators(.bfloat16) })
  }

  private static func fewRowsLinear(_ device: Device, rows: Int, outputs: Int, inputs: Int) throws -> Row {
    let (input, weight, bias) = (noise([rows, inputs], device), noise([outputs, inputs], device), noise([outputs], device))
    func operators(_ dtype: DType) -> Tensor {
      input.to(dtype: dtype).linear(weight.to(dtype: dtype), bias: bias.to(dtype: dtype))
    }
    return try row(
      "few_rows_linear", "\(rows) x \(outputs) x \(inputs)", bytes: outputs * inputs * 2, truth: operators(.float32),
      device: device, kernel: { Kernels.fewRowsLinear(.plain(input), weight, bias: bias) }, operators: { operators(.bfloat16) })
  }

  private static func invariantLinear(_ device: Device, rows: Int, outputs: Int, inputs: Int) throws -> Row {
    let (input, weight) = (noise([rows, inputs], device), noise([outputs, inputs], device))
    func operators(_ dtype: DType) -> Tensor { input.to(dtype: dtype).linear(weight.to(dtype: dtype)) }
    return try row(
      "invariant_linear", "\(rows) x \(outputs) x \(inputs)", bytes: outputs * inputs * 2, truth: operators(.float32),
      device: device, kernel: { input.rowInvariantLinear(weight) }, operators: { operators(.bfloat16) })
  }

  private static func normedFewRowsLinear(
    _ device: Device, rows: Int, outputs: Int, inputs: Int, isInvariant: Bool
  ) throws -> Row {
    let (input, weight, norm) = (noise([rows, inputs], device), noise([outputs, inputs], device), noise([inputs], device))
    func operators(_ dtype: DType) -> Tensor {
      input.to(dtype: dtype).rmsNorm([inputs], weight: norm.to(dtype: dtype), eps: 1e-6).linear(weight.to(dtype: dtype))
    }
    return try row(
      isInvariant ? "invariant_linear of a norm" : "few_rows_linear of a norm", "\(rows) x \(outputs) x \(inputs)",
      bytes: outputs * inputs * 2, truth: operators(.float32), device: device,
      kernel: {
        Kernels.fewRowsLinear(.normed(input, weight: norm, epsilon: 1e-6), weight, bias: nil, isInvariant: isInvariant)
      },
      operators: { operators(.bfloat16) })
  }

  private static func gatedFewRowsLinear(
    _ device: Device, rows: Int, outputs: Int, inputs: Int, isInvariant: Bool
  ) throws -> Row {
    let (both, weight, residual) = (noise([rows, 2 * inputs], device), noise([outputs, inputs], device), noise([rows, outputs], device))
    func operators(_ dtype: DType) -> Tensor {
      let parts = both.to(dtype: dtype).chunk(2, dim: 1)
      return (parts[0].silu() * parts[1]).linear(weight.to(dtype: dtype)) + residual.to(dtype: dtype)
    }
    return try row(
      isInvariant ? "invariant_linear of SiLU · up" : "few_rows_linear of SiLU · up", "\(rows) x \(outputs) x \(inputs)",
      bytes: outputs * inputs * 2, truth: operators(.float32), device: device,
      kernel: { Kernels.fewRowsLinear(.gated(both), weight, bias: nil, residual: residual, isInvariant: isInvariant) },
      operators: { operators(.bfloat16) })
  }

  /// Beside libtorch's product of rows that are quantised before; of many rows that is what is measured.
  private static func float8Linear(
    _ device: Device, rows: Int, outputs: Int, inputs: Int, _ scaling: Float8Scaling
  ) throws -> Row {
    let (input, bias) = (noise([rows, inputs], device), noise([outputs], device))
    let weight = Float8Matrix(quantizing: noise([outputs, inputs], device), scaling).copied(to: device)
    let truth = input.to(dtype: .float32).float8Linear(weight, bias: bias.to(dtype: .float32))
    return try row(
      "float8_linear", "\(rows) x \(outputs) x \(inputs), \(scaling.name)", bytes: outputs * inputs + weight.scales.byteCount,
      truth: truth, device: device, kernel: { input.float8Linear(weight, bias: bias) },
      operators: { input.float8LinearByOperators(weight, bias: bias) })
  }

  private static func normRotate(_ device: Device, rows: Int, heads: Int, keyHeads: Int, dimension: Int) throws -> Row {
    // Rows of a fused projection, as in a model.
    let all = noise([rows, (heads + 2 * keyHeads) * dimension], device)
    let query = all.narrow(1, start: 0, length: heads * dimension).view([rows, heads, dimension])
    let key = all.narrow(1, start: heads * dimension, length: keyHeads * dimension).view([rows, keyHeads, dimension])
    let (queryWeight, keyWeight) = (noise([dimension], device), noise([dimension], device))
    let angles = noise([rows, 1, dimension / 2], device).to(dtype: .float32)
    let (cosine, sine) = (
      Tensor.cat([angles, angles], dim: 2).cos().to(dtype: .bfloat16), Tensor.cat([angles, angles], dim: 2).sin().to(dtype: .bfloat16))
    func turned(_ head: Tensor, _ weight: Tensor, _ dtype: DType) -> Tensor {
      let normed = head.to(dtype: dtype).rmsNorm([dimension], weight: weight.to(dtype: dtype), eps: 1e-6)
      let halves = normed.chunk(2, dim: 2)
      return normed * cosine.to(dtype: dtype) + Tensor.cat([-halves[1], halves[0]], dim: 2) * sine.to(dtype: dtype)
    }
    func operators(_ dtype: DType) -> Tensor {
      Tensor.cat([turned(query, queryWeight, dtype), turned(key, keyWeight, dtype)], dim: 1)
    }
    return try row(
      "norm_rotate", "\(rows) x \(heads)+\(keyHeads) x \(dimension)", bytes: rows * (heads + keyHeads) * dimension * 4,
      truth: operators(.float32), device: device,
      kernel: {
        let found = Kernels.normRotate(
          all, heads: heads, keyHeads: keyHeads, dimension: dimension, queryWeight: queryWeight, keyWeight: keyWeight,
          epsilon: 1e-6, cosine: cosine, sine: sine)
        return Tensor.cat([found.query, found.key], dim: 1)
      }, operators: { operators(.bfloat16) })
  }

  private static func decodeAttention(
    _ device: Device, rows: Int, heads: Int, keyValueHeads: Int, dimension: Int, longest: Int,
    isInvariant: Bool
  ) throws -> Row {
    var random = SplitMix64(seed: UInt64(rows * 31 + longest))
    let pageSize = 16
    let lengths = (0..<rows).map { $0 == 0 ? longest : Int.random(in: 1...longest, using: &random) }
    let perRow = (longest + pageSize - 1) / pageSize
    let table = Array(0..<rows * perRow).shuffled(using: &random)
    let slots = rows * perRow * pageSize
    let (keys, values) = (noise([slots, keyValueHeads, dimension], device), noise([slots, keyValueHeads, dimension], device))
    let query = noise([rows, heads, dimension], device)
    let contexts = PageTable(
      (0..<rows).map { Array(table[$0 * perRow..<($0 + 1) * perRow]) }, lengths: lengths, device: device)
    let scale = 1 / Double(dimension).squareRoot()
    func operators(_ dtype: DType) -> Tensor {
      Tensor.cat((0..<rows).map { row in
        let places = (0..<lengths[row]).map { table[row * perRow + $0 / pageSize] * pageSize + $0 % pageSize }
        let index = Tensor(places).to(device: device)
        func context(_ cached: Tensor) -> Tensor {
          cached.indexSelect(0, index: index).to(dtype: dtype).transpose(0, dim1: 1).repeatInterleave(heads / keyValueHeads, dim: 0)
        }
        let scores = query[row..<row + 1].to(dtype: dtype).transpose(0, dim1: 1).bmm(context(keys).transpose(1, dim1: 2)) * scale
        return scores.softmax(2).bmm(context(values)).transpose(0, dim1: 1)
      }, dim: 0)
    }
    return try row(
      isInvariant ? "invariant_decode_attention" : "decode_attention",
      "\(rows) x \(heads)/\(keyValueHeads) x \(dimension), up to \(longest)",
      bytes: lengths.reduce(0, +) * keyValueHeads * dimension * 4, truth: operators(.float32), device: device,
      kernel: {
        Kernels.decodeAttention(
          query: query, keys: keys, values: values, table: contexts, scale: scale, pageSize: pageSize, isInvariant: isInvariant)
      }, operators: { operators(.bfloat16) })
  }

  private static func sample(_ device: Device, rows: Int, columns: Int) throws -> Row {
    let logits = noise([rows, columns], device) * 3
    let temperatures = (0..<rows).map { Float([1, 0.7, 1.3][$0 % 3]) }
    let noises = (0..<rows).map { SamplingNoise(seed: $0, position: 7) }
    let heat = Tensor(temperatures).to(device: device)
    let keys = Tensor(noises.map(\.signedKey)).to(device: device)
    let isGreedy = Tensor((0..<rows).map { $0 % 4 == 3 }).to(device: device)
    func operators() -> (Tensor, Tensor) {
      let scaled = logits.to(dtype: .float32) / heat.unsqueeze(1)
      let gumbel = SamplingNoise.uniforms(noises, columns: columns, device: device).log_().neg().log_().neg().to(dtype: .float32)
      let chosen = (scaled + gumbel.maskedFill(isGreedy.unsqueeze(1), value: 0)).max(1).1
      return (chosen, scaled.gather(1, index: chosen.unsqueeze(1)).squeeze(1) - scaled.logsumexp([1]))
    }
    let (chosen, logProbs) = operators()
    let found = Kernels.sample(logits, temperatures: heat, keys: keys, isGreedy: isGreedy)
    let others = zip(found.tokens.array(Int.self), chosen.array(Int.self)).count { $0 != $1 }
    let furthest: Double = (found.logProbs - logProbs).abs().max().item()
    guard others == 0, furthest < 1e-4 else {
      throw BenchmarkError("sample \(rows) x \(columns): \(others) rows sample another token, log-probabilities are off by \(furthest)")
    }
    return try row(
      "sample", "\(rows) x \(columns)", bytes: rows * columns * 2, truth: logProbs, device: device,
      kernel: { Kernels.sample(logits, temperatures: heat, keys: keys, isGreedy: isGreedy).logProbs },
      operators: { operators().1 })
  }

  private static func quantize(_ device: Device, rows: Int, columns: Int, _ scaling: Float8Scaling) throws -> Row {
    let matrix = noise([rows, columns], device)
    // With a row of nothing but zeros.
    matrix[0..<1].zero_()
    let shape = "\(rows) x \(columns), \(scaling.name)"
    for input in [matrix, matrix.to(dtype: .float32), matrix.narrow(1, start: 1, length: columns - 1)] {
      let (found, wanted) = (Float8Matrix(quantizing: input, scaling), Float8Matrix.quantized(input, scaling))
      guard found.values.viewing(.uint8).equal(wanted.values.viewing(.uint8)), found.scales.equal(wanted.scales) else {
        throw BenchmarkError("quantize \(shape): not the bits of operators")
      }
    }
    return try row(
      "quantize", shape, bytes: rows * columns * 3, truth: Float8Matrix.quantized(matrix, scaling).scales,
      device: device, kernel: { Float8Matrix(quantizing: matrix, scaling).scales },
      operators: { Float8Matrix.quantized(matrix, scaling).scales })
  }

  // MARK: Training

  private static func training(_ device: Device) throws -> [Row] {
    var rows: [Row] = []
    for (count, width) in [(5, 72), (4096, 9728)] {
      rows.append(
        try gradients(
          "silu_multiply_gradient", "\(count) x \(width)", bytes: count * width * 16, [[count, 2 * width]], [[count, width]], device
        ) { [Kernels.siluMultiply($0[0])] } operators: { inputs in
          let parts = inputs[0].chunk(2, dim: 1)
          return [parts[0].silu() * parts[1]]
        })
    }
    for (count, width) in [(7, 1024), (8192, 2560), (300, 9216)] {
      rows.append(
        try gradients(
          "add_norm_gradient", "\(count) x \(width)", bytes: count * width * 18, [[count, width], [count, width], [width]],
          [[count, width], [count, width]], device
        ) { inputs in
          let (sum, normed) = Kernels.addNorm(inputs[0], inputs[1], weight: inputs[2], epsilon: 1e-6)
          return [sum, normed]
        } operators: { inputs in
          let sum = inputs[0] + inputs[1]
          return [sum, sum.rmsNorm([width], weight: inputs[2], eps: 1e-6)]
        })
    }
    for (count, heads, keyHeads, dimension, rotated, hasNorms) in [
      (8192, 32, 8, 128, 128, true), (16_384, 16, 8, 128, 128, true), (33, 4, 2, 64, 32, true), (33, 3, 1, 96, 96, false),
      (65, 3, 2, 256, 64, true),
    ] {
      // Odd numbers of heads with gates.
      let gates = heads % 2 == 0 ? 0 : heads
      let angles = noise([count, 1, rotated / 2], device).to(dtype: .float32)
      let (cosine, sine) = (
        Tensor.cat([angles, angles], dim: 2).cos().to(dtype: .bfloat16), Tensor.cat([angles, angles], dim: 2).sin().to(dtype: .bfloat16))
      func turned(_ head: Tensor, _ weight: Tensor) -> Tensor {
        let normed = hasNorms ? head.rmsNorm([dimension], weight: weight, eps: 1e-6) : head
        let parts = normed.splitWithSizes([rotated, dimension - rotated], dim: 2)
        let halves = parts[0].chunk(2, dim: 2)
        let result = parts[0] * cosine.to(dtype: head.dtype) + Tensor.cat([-halves[1], halves[0]], dim: 2) * sine.to(dtype: head.dtype)
        return Tensor.cat([result, parts[1]], dim: 2)
      }
      let parts = [heads, gates, keyHeads, keyHeads]
      rows.append(
        try gradients(
          "norm_rotate_gradient", "\(count) x \(heads)+\(keyHeads) x \(dimension)",
          bytes: count * (10 * (heads + keyHeads) + 4 * keyHeads) * dimension,
          [[count, parts.reduce(0, +) * dimension]] + (hasNorms ? [[dimension], [dimension]] : []),
          [heads, keyHeads, keyHeads].map { [count, $0, dimension] } + (gates > 0 ? [[count, gates * dimension]] : []), device
        ) { inputs in
          let found = Kernels.normRotate(
            inputs[0], heads: heads, keyHeads: keyHeads, dimension: dimension, queryWeight: hasNorms ? inputs[1] : nil,
            keyWeight: hasNorms ? inputs[2] : nil, epsilon: 1e-6, cosine: cosine, sine: sine)
          return [found.query, found.key, found.value] + (found.gates.map { [$0] } ?? [])
        } operators: { inputs in
          let split = inputs[0].splitWithSizes(parts.map { $0 * dimension }, dim: 1)
          func heads(_ place: Int) -> Tensor { split[place].view([count, parts[place], dimension]) }
          return [turned(heads(0), hasNorms ? inputs[1] : inputs[0]), turned(heads(2), hasNorms ? inputs[2] : inputs[0]), heads(3)]
            + (gates > 0 ? [split[1]] : [])
        })
    }
    for (count, columns, width) in [(4096, 151_936, 1024), (33, 50_001, 72)] {
      rows.append(try hiddenLogProbs(device, rows: count, columns: columns, width: width))
    }
    for lengths in [[4096, 4096], [4096, 700, 33, 1, 2048]] { rows += try attention(device, lengths: lengths) }
    try checkRemaking(device)
    var (remainders, low) = (OptimizerPrecision(), OptimizerPrecision())
    remainders.keepsRemainders = true
    (low.keepsRemainders, low.gradients, low.firstMoments, low.secondMoments) = (true, .bfloat16, .bfloat16, .bfloat16)
    for precision in [OptimizerPrecision(), remainders, low] { rows.append(try adamW(device, count: 100_000_003, precision)) }
    return rows
  }

  private static func hiddenLogProbs(_ device: Device, rows: Int, columns: Int, width: Int) throws -> Row {
    let head = noise([columns, width], device) * 0.05
    let targets = Tensor((0..<rows).map { $0 * 7919 % columns }).to(device: device)
    let table = ParameterTable(dtype: .bfloat16)
    let parameter = ParameterScope(table)("lm_head").parameter("weight", shape: [columns, width], initializer: .constant(0))
    return try gradients(
      "hidden_log_probs", "\(rows) x \(columns) x \(width)", bytes: rows * columns * 8, [[rows, width]], [[rows], [rows]], device
    ) { inputs in
      parameter.tensor = head
      let found = HiddenLogProbs.statistics(inputs[0], parameter, from: 0, targets: targets, temperature: 0.7, group: .single("one"))
      return [found.logProbs, found.entropy]
    } operators: { inputs in
      let found = vocabularyLogProbs(
        logits: inputs[0].linear(head.to(dtype: inputs[0].dtype)), from: 0, targets: targets, temperature: 0.7, group: .single("one"))
      return [found.logProbs, found.entropy]
    }
  }

  private static func attention(_ device: Device, lengths: [Int]) throws -> [Row] {
    let (heads, keyHeads, dimension, tokens) = (32, 8, 128, lengths.reduce(0, +))
    func run(_ implementation: AttentionImplementation, _ inputs: [Tensor]) -> [Tensor] {
      [
        trainingAttention(lengths: lengths, parallel: .single(device), implementation: implementation)
          .attend(query: inputs[0], key: inputs[1], value: inputs[2], layer: 0)
      ]
    }
    // The truth needs all scores: of a few heads only.
    return try [(4, 2), (heads, keyHeads)].map { heads, keyHeads in
      try gradients(
        "cudnn_attention", "\(lengths) x \(heads)/\(keyHeads) x \(dimension)", bytes: tokens * dimension * (6 * heads + 6 * keyHeads) * 2,
        [[tokens, heads, dimension], [tokens, keyHeads, dimension], [tokens, keyHeads, dimension]], [[tokens, heads, dimension]],
        device, kernel: { run(.cudnn, $0) }, operators: { run($0[0].dtype == .float32 ? .sdpa : .flashAttention2, $0) })
    }
  }

  private static func adamW(_ device: Device, count: Int, _ precision: OptimizerPrecision) throws -> Row {
    let start = Tensor.randn([count], device: device)
    let gradient = Tensor.randn([count], device: device).to(dtype: precision.gradients)
    var options = AdamW.Options()
    options.weightDecay = 0.1
    /// Operators write a copy in fp32, which our kernel does not.
    func optimizer(_ precision: OptimizerPrecision, usesKernel: Bool) -> (weights: MasterWeights, step: (_ rate: Double) -> Tensor) {
      let parts = MasterWeights.split(start)
      let weights = precision.keepsRemainders
        ? MasterWeights(parts.values, remainders: parts.remainders) : MasterWeights(start.clone())
      let low = Tensor.empty([count], dtype: usesKernel ? .bfloat16 : .float32, device: device)
      let adam = AdamW([weights], options: options, precision: precision)
      return (weights, { rate in
        let gradient = gradient.to(dtype: precision.gradients)
        adam.step([rate == 0 ? gradient : gradient.clone()], learningRate: rate, gradientScale: rate == 0 ? 1 : 0.5, writing: [low])
        return low
      })
    }
    let (own, other) = (optimizer(precision, usesKernel: true), optimizer(precision, usesKernel: false))
    let (plain, truth) = (optimizer(OptimizerPrecision(), usesKernel: true), optimizer(OptimizerPrecision(), usesKernel: false))
    for _ in 0..<3 { for optimizer in [own, other, plain, truth] { _ = optimizer.step(1e-2) } }
    let low = own.step(0)
    guard low.equal(precision.keepsRemainders ? own.weights.values : own.weights.whole.to(dtype: .bfloat16)) else {
      throw BenchmarkError("adamw: the bf16 copy is not what was stepped")
    }
    var exact = OptimizerPrecision()
    exact.keepsRemainders = true
    guard precision != exact || own.weights.whole.equal(plain.weights.whole) else {
      throw BenchmarkError("adamw: bf16 weights and their remainders are not the fp32 weights")
    }
    let name = "weights \(precision.keepsRemainders ? "2+2" : "4"), gradients \(precision.gradients.size), moments "
      + "\(precision.firstMoments.size)+\(precision.secondMoments.size) bytes"
    let moments = precision.firstMoments.size + precision.secondMoments.size
    return Row(
      kernel: "adamw", shape: "\(count), \(name)", error: distance(own.weights.whole, truth.weights.whole),
      operatorError: distance(other.weights.whole, truth.weights.whole), microseconds: try timed(device) { own.step(0) },
      operatorMicroseconds: try timed(device) { other.step(0) }, bytes: count * (10 + 2 * moments + precision.gradients.size))
  }

  /// What is made again for the backward pass has the same bits.
  private static func checkRemaking(_ device: Device) throws {
    let inputs = [noise([65, 512], device), noise([65, 512], device), noise([512], device)]
    let scale = inputs[2][0..<128]
    let angles = Tensor.cat([noise([65, 1, 64], device), noise([65, 1, 64], device)], dim: 2)
    try withGradients(true) {
      for input in inputs { input.requiresGrad = true }
      let turned = Kernels.normRotate(
        inputs[0], heads: 2, keyHeads: 1, dimension: 128, queryWeight: scale, keyWeight: scale, epsilon: 1e-6,
        cosine: angles.cos(), sine: angles.sin())
      let normed = [inputs[1], nil].map { Kernels.addNorm(inputs[0], $0, weight: inputs[2], epsilon: 1e-6).normed }
      for (name, result) in [
        ("silu_multiply", Kernels.siluMultiply(inputs[0])), ("add_norm", normed[0]), ("add_norm", normed[1]),
        ("norm_rotate", turned.query), ("norm_rotate", turned.key),
      ] where !result.isRemade || !result.remade().equal(result) {
        throw BenchmarkError("\(name): what is made again is not what was made")
      }
      // By the way, sums are in another order than a norm's.
      for (name, result, bound) in [
        ("silu_multiply", Kernels.siluMultiply(inputs[0]), 0.0), ("add_norm", normed[0], 1e-3), ("add_norm", normed[1], 1e-3),
      ] {
        var again: Tensor?
        result.awaited { again = $0 }
        result.backward(gradient: result.detached())
        guard let again, distance(again, result.detached().to(dtype: .float32)) <= bound else {
          throw BenchmarkError("\(name): what its gradient makes again is not what was made")
        }
      }
    }
  }

  /// A kernel's outputs and gradients by random numbers, beside those of operators.
  private static func gradients(
    _ name: String, _ shape: String, bytes: Int, _ inputShapes: [[Int]], _ outputShapes: [[Int]], _ device: Device,
    kernel: ([Tensor]) -> [Tensor], operators: ([Tensor]) -> [Tensor]
  ) throws -> Row {
    let (inputs, weights) = (inputShapes.map { noise($0, device) }, outputShapes.map { noise($0, device) })
    func found(_ dtype: DType, _ body: ([Tensor]) -> [Tensor]) -> Tensor {
      withGradients(true) {
        let leaves = inputs.map { input in
          let leaf = input.to(dtype: dtype, copy: true)
          leaf.requiresGrad = true
          return leaf
        }
        let outputs = body(leaves)
        let sum = zip(outputs, weights).map { ($0 * $1.to(dtype: $0.dtype)).to(dtype: .float32).sum() }.reduce(Tensor.zeros([], device: device), +)
        sum.backward()
        return Tensor.cat((outputs.map { $0.detached() } + leaves.map { $0.grad! }).map { $0.to(dtype: .float32).flatten() }, dim: 0)
      }
    }
    return try row(
      name, shape, bytes: bytes, truth: found(.float32, operators), device: device, kernel: { found(.bfloat16, kernel) },
      operators: { found(.bfloat16, operators) }, isRecorded: false)
  }

  // MARK: Measuring

  static func noise(_ shape: [Int], _ device: Device) -> Tensor {
    Tensor.randn(shape, device: device).to(dtype: .bfloat16)
  }

  private static func distance(_ found: Tensor, _ truth: Tensor) -> Double {
    let difference = (found.to(dtype: .float32) - truth).square().sum().item()
    return (difference / truth.square().sum().item()).squareRoot()
  }

  static func row(
    _ kernel: String, _ shape: String, bytes: Int, truth: Tensor, device: Device, kernel run: () throws -> Tensor,
    operators: () throws -> Tensor, isRecorded: Bool = true
  ) throws -> Row {
    do {
      return Row(
        kernel: kernel, shape: shape, error: distance(try run(), truth), operatorError: distance(try operators(), truth),
        microseconds: isRecorded ? try recorded(device, run) : try timed(device, run),
        operatorMicroseconds: try timed(device, operators), bytes: bytes)
    } catch {
      throw BenchmarkError("\(kernel) \(shape): \(error)")
    }
  }

  /// A call in a CUDA graph, where only the device's time counts; the median of some.
  private static func recorded(_ device: Device, _ body: () throws -> Tensor) throws -> Double {
    let repeats = 20
    var kept: [Tensor] = []
    let graph = try CUDAGraph(on: device) { for _ in 0..<repeats { kept.append(try body()) } }
    return try median(on: device) { try graph.replay() } / Double(repeats)
  }

  private static func timed(_ device: Device, _ body: () throws -> Tensor) throws -> Double {
    try median(on: device) { _ = try body() }
  }

  private static func median(on device: Device, _ body: () throws -> Void) throws -> Double {
    let stream = try CUDAStream.current(device)
    var times: [Double] = []
    for round in 0..<14 {
      let start = try CUDAEvent(timed: true)
      let end = try CUDAEvent(timed: true)
      try start.record(on: stream)
      try body()
      try end.record(on: stream)
      try end.synchronize()
      if round >= 3 { times.append(try end.milliseconds(since: start) * 1000) }
    }
    return times.sorted()[times.count / 2]
  }
}
