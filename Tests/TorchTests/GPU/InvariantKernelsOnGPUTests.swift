import TestSupport
import Testing
import Torch

/// What deterministic mode runs on a GPU: rows are the same bits whatever stands beside them, and near plain operators' numbers.
@Suite(.serialized, .onGPU) struct InvariantKernelsOnGPUTests {
  private static func noise(_ shape: [Int], _ seed: UInt64, _ device: Device) -> Tensor {
    Tensor.randn(shape, generator: Generator(seed: seed)).to(dtype: .bfloat16, device: device)
  }

  @Test(arguments: [(256, 512), (2560, 6144), (9728, 2560), (4096, 2560), (1024, 151_936), (200, 72)])
  func aRowOfAProductIsItsOwn(inputs: Int, outputs: Int) throws {
    let device = try GPU.open()
    let x = Self.noise([5000, inputs], 1, device)
    let w = Self.noise([outputs, inputs], 2, device)
    let largest = outputs > 100_000 ? 1200 : 5000
    let all = x[0..<largest].rowInvariantLinear(w)
    for (first, count) in [(0, 1), (7, 1), (3, 5), (100, 16), (64, 33), (11, 64), (500, 100), (200, 256), (90, 257), (1, 900)] {
      #expect(x[first..<first + count].rowInvariantLinear(w).equal(all[first..<first + count]), "\(count) rows from \(first)")
    }
    let wanted = x[0..<50].to(dtype: .float32).linear(w.to(dtype: .float32))
    let error = ((all[0..<50].to(dtype: .float32) - wanted).abs() / (wanted.abs() + 1)).max().item()
    #expect(error < 0.01, "\(error)")
  }

  /// Few rows have a kernel of their own. Of numbers whose sums cancel all that is left is what was rounded on the way.
  @Test(
    arguments: [
      (1024, 4096), (1024, 6144), (3072, 1024), (2048, 1024), (2560, 19_456), (9728, 2560), (14_336, 4096), (1024, 50_000),
      (1008, 1000), (144, 2120), (1008, 77), (200, 72),
    ], [false, true])
  func fewRowsOfAProductAreThoseOfMany(shape: (Int, Int), isCancelling: Bool) throws {
    let device = try GPU.open()
    let (inputs, outputs) = shape
    func numbers(_ rows: Int, _ seed: UInt64, sign: Double) -> Tensor {
      guard isCancelling else { return Self.noise([rows, inputs], seed, device) }
      let half = Self.noise([rows, inputs / 2], seed, device)
      return Tensor.cat([half, half * sign], dim: 1)
    }
    let x = numbers(256, 6, sign: -1)
    let w = numbers(outputs, 7, sign: 1)
    let all = x.rowInvariantLinear(w)
    for count in Array(1...9) + [16, 17] {
      for first in [0, 33, 256 - count] {
        #expect(x[first..<first + count].rowInvariantLinear(w).equal(all[first..<first + count]), "\(count) rows from \(first)")
      }
    }
  }

  /// What stands before and behind a product, found beside it, is the same bits as by kernels of their own for many rows.
  @Test(
    arguments: [
      (1024, 4096), (1024, 6144), (3072, 1024), (2048, 1024), (2560, 6144), (9728, 2560), (4096, 1000), (8192, 512), (1008, 1000),
      (144, 2120),
    ], [false, true])
  func fewRowsDoTheRestToo(shape: (Int, Int), hasBias: Bool) throws {
    let device = try GPU.open()
    let (inputs, outputs) = shape
    let (x, both) = (Self.noise([300, inputs], 8, device) * 3, Self.noise([300, 2 * inputs], 9, device) * 3)
    let (norm, w) = (Self.noise([inputs], 10, device), Self.noise([outputs, inputs], 11, device))
    let residual = Self.noise([300, outputs], 12, device)
    let bias = hasBias ? Self.noise([outputs], 13, device) : nil
    let takesNorms = inputs <= 8192
    func added(_ product: Tensor) -> Tensor {
      let sum = residual + product
      #expect(Kernels.addNorm(residual, product, weight: residual[0], epsilon: 1e-6).sum.equal(sum))
      return sum
    }
    let plain = x.rowInvariantLinear(w, bias: bias)
    let normed = Kernels.addNorm(x, nil, weight: norm, epsilon: 1e-6).normed.rowInvariantLinear(w, bias: bias)
    let gated = Kernels.siluMultiply(both).rowInvariantLinear(w, bias: bias)
    let sums = (plain: added(plain), normed: added(normed), gated: added(gated))
    for count in 1...16 {
      for first in [0, 41, 300 - count] {
        let rows = first..<first + count
        guard Kernels.multiplyFewRowsInvariantly(takesNorms ? x[rows] : x[rows].narrow(1, start: 0, length: 8), w) else {
          #expect(count > 8, "\(count) rows are too many")
          continue
        }
        func expect(_ input: FewRows, _ product: Tensor, _ sum: Tensor, _ name: String) {
          let found = Kernels.fewRowsLinear(input, w, bias: bias, isInvariant: true)
          #expect(found.equal(product[rows]), "\(name), \(count) rows from \(first)")
          let withResidual = Kernels.fewRowsLinear(input, w, bias: bias, residual: residual[rows], isInvariant: true)
          #expect(withResidual.equal(sum[rows]), "\(name) and residual, \(count) rows from \(first)")
        }
        expect(.plain(x[rows]), plain, sums.plain, "plain")
        if takesNorms { expect(.normed(x[rows], weight: norm, epsilon: 1e-6), normed, sums.normed, "normed") }
        expect(.gated(both[rows]), gated, sums.gated, "gated")
      }
    }
  }

  /// Quotients of usual numbers are found without asking each whether it is one.
  @Test func siluIsTheSameBesideUnusualNumbers() throws {
    let device = try GPU.open()
    let both = Self.noise([512, 2048], 14, device) * 12
    let unusual = both.clone()
    unusual.view([512, 2, 128, 8]).narrow(3, start: 0, length: 1).zero_()
    func others(_ both: Tensor) -> Tensor {
      Kernels.siluMultiply(both).view([512, 128, 8]).narrow(2, start: 1, length: 7).contiguous()
    }
    #expect(others(unusual).equal(others(both)))
  }

  /// Heads, key-value heads and a head's dimension; tokens of a page.
  @Test(arguments: [(8, 2, 64), (8, 1, 128), (6, 2, 128), (24, 2, 128), (16, 8, 128), (4, 2, 256)], [8, 16])
  func attentionIsTheSameInAnyPieces(shape: (Int, Int, Int), pageSize: Int) throws {
    let device = try GPU.open()
    let (heads, keyValueHeads, dimension) = shape
    var random = SplitMix64(seed: UInt64(heads * dimension))
    let lengths = [1, 15, 16, 128, 129, 300, 777, 1500]
    let scale = 0.11
    // Each sequence's pages lie somewhere.
    let pageCount = lengths.reduce(0) { $0 + ($1 + pageSize - 1) / pageSize }
    var free = Array(0..<pageCount).shuffled(using: &random)[...]
    let pages = lengths.map { length in
      let own = Array(free.prefix((length + pageSize - 1) / pageSize))
      free = free.dropFirst(own.count)
      return own
    }
    let slots = zip(lengths, pages).map { length, pages in (0..<length).map { pages[$0 / pageSize] * pageSize + $0 % pageSize } }
    let keys = Self.noise([pageCount * pageSize, keyValueHeads, dimension], 3, device)
    let values = Self.noise([pageCount * pageSize, keyValueHeads, dimension], 4, device)
    let queries = lengths.map { Self.noise([$0, heads, dimension], UInt64($0), device) }

    func attend(_ parts: [(sequence: Int, queries: Range<Int>)]) -> [Tensor] {
      var count = 0
      let sequences = parts.map { part in
        defer { count += part.queries.count }
        return InvariantSequences.Sequence(queries: count..<count + part.queries.count, start: part.queries.lowerBound)
      }
      let output = Kernels.invariantAttention(
        query: Tensor.cat(parts.map { queries[$0.sequence][$0.queries] }), keys: keys, values: values,
        InvariantSequences(
          sequences, pages: parts.map { pages[$0.sequence] }, pageSize: pageSize, headDimension: dimension, device: device),
        scale: scale
      ).output
      return sequences.map { output[$0.queries] }
    }
    let whole = attend(lengths.indices.map { ($0, 0..<lengths[$0]) })

    // Near what plain operators find in fp32.
    for (s, length) in lengths.enumerated() {
      let index = Tensor(slots[s]).to(device: device)
      func context(_ cached: Tensor) -> Tensor {
        cached.indexSelect(0, index: index).to(dtype: .float32).transpose(0, dim1: 1)
          .repeatInterleave(heads / keyValueHeads, dim: 0)
      }
      let hidden = Tensor.ones([length, length], dtype: .bool, device: device).triu(1)
      let scores = queries[s].to(dtype: .float32).transpose(0, dim1: 1).bmm(context(keys).transpose(1, dim1: 2)) * scale
      let weights = scores.maskedFill(hidden, value: -Double.infinity).softmax(2)
      let wanted = weights.bmm(context(values)).transpose(0, dim1: 1)
      let error = (whole[s].to(dtype: .float32) - wanted).abs().max().item()
      #expect(error < 0.03, "\(length): \(error)")
    }
    // Keys and values one after another, as training has them.
    var start = 0
    let packed = InvariantSequences(
      lengths.map { length in
        defer { start += length }
        return .init(queries: start..<start + length, firstKey: start)
      }, headDimension: dimension, device: device)
    let index = Tensor(slots.flatMap { $0 }).to(device: device)
    let asTraining = Kernels.invariantAttention(
      query: Tensor.cat(queries), keys: keys.indexSelect(0, index: index), values: values.indexSelect(0, index: index), packed,
      scale: scale)
    #expect(asTraining.output.equal(Tensor.cat(whole)))
    // In chunks that begin anywhere, beside others.
    for _ in 0..<4 {
      let parts = lengths.indices.shuffled(using: &random).map { s in
        let first = Int.random(in: 0..<lengths[s], using: &random)
        return (sequence: s, queries: first..<Int.random(in: first + 1...lengths[s], using: &random))
      }
      for (part, found) in zip(parts, attend(parts)) {
        #expect(found.equal(whole[part.sequence][part.queries]), "\(lengths[part.sequence]): \(part.queries)")
      }
    }
    // One token a row, few rows and many.
    for count in [1, 5, 40] {
      let rows = (0..<count).map { _ in
        let sequence = Int.random(in: lengths.indices, using: &random)
        return (sequence: sequence, place: Int.random(in: 0..<lengths[sequence], using: &random))
      }
      let found = Kernels.decodeAttention(
        query: Tensor.stack(rows.map { queries[$0.sequence][$0.place] }), keys: keys, values: values,
        table: PageTable(rows.map { pages[$0.sequence] }, lengths: rows.map { $0.place + 1 }, device: device), scale: scale,
        pageSize: pageSize, isInvariant: true)
      for (i, row) in rows.enumerated() {
        #expect(found[i].equal(whole[row.sequence][row.place]), "\(count) rows: token \(row.place) of \(lengths[row.sequence])")
      }
    }
    // The same, where the last token's key and value are written on the way.
    for count in [1, 2, 4, lengths.count] {
      let rows = lengths.indices.shuffled(using: &random).prefix(count).map { s in
        (sequence: s, place: Int.random(in: 0..<lengths[s], using: &random))
      }
      let written = rows.map { slots[$0.sequence][$0.place] }
      let index = Tensor(written).to(device: device)
      let (ownKeys, ownValues) = (keys.clone(), values.clone())
      for slot in written {
        ownKeys[slot..<slot + 1].zero_()
        ownValues[slot..<slot + 1].zero_()
      }
      let found = Kernels.decodeAttention(
        query: Tensor.stack(rows.map { queries[$0.sequence][$0.place] }),
        last: (keys.indexSelect(0, index: index), values.indexSelect(0, index: index)), keys: ownKeys, values: ownValues,
        table: PageTable(rows.map { pages[$0.sequence] }, lengths: rows.map { $0.place + 1 }, device: device), scale: scale,
        pageSize: pageSize, isInvariant: true)
      for (i, row) in rows.enumerated() {
        let isEqual = found[i].equal(whole[row.sequence][row.place])
        #expect(isEqual, "\(count) rows with new keys: token \(row.place) of \(lengths[row.sequence])")
      }
      #expect(ownKeys.equal(keys) && ownValues.equal(values))
    }
  }

  @Test func statisticsOfARowAreItsOwn() throws {
    let device = try GPU.open()
    let logits = Self.noise([40, 1000], 5, device) * 4
    let targets = Tensor((0..<40).map { $0 * 7 }).to(device: device)
    let temperatures = Tensor((0..<40).map { Float([1, 0.7, 1.3][$0 % 3]) }).to(device: device)
    let all = Kernels.rowStatistics(logits, targets: targets, temperatures: temperatures)
    let ofFloats = Kernels.rowStatistics(
      logits.to(dtype: .float32) / temperatures.unsqueeze(1), targets: targets)
    #expect(all.equal(ofFloats))
    for (row, temperature) in [(0, 1.0), (4, 0.7), (5, 1.3)] {
      let alone = Kernels.rowStatistics(logits[row..<row + 1], targets: targets[row..<row + 1], temperature: temperature)
      #expect(alone.squeeze(1).equal(all.select(1, index: row)), "row \(row)")
    }
  }
}
