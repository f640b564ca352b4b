import Torch

/// Where the sequences of a batch lie, as layers see it that go along them: index tensors, made once for all layers.
public final class SequenceRows {
  /// Tokens of each sequence, one after another.
  let lengths: [Int]
  private let device: Device
  private var knownTaps: [Int: ConvolutionRows] = [:]
  /// In chunks of tokens, as many as are worth a matrix product (64 in the paper's kernels), or a short batch has.
  private(set) lazy var chunks = ChunkRows(lengths, size: chunkSize, device: device)

  public init(_ lengths: [Int], device: Device) { (self.lengths, self.device) = (lengths, device) }

  private var chunkSize: Int {
    let longest = lengths.max() ?? 1
    var size = 1
    while size < min(longest, 64) { size *= 2 }
    return size
  }

  func convolution(taps: Int) -> ConvolutionRows {
    if let known = knownTaps[taps] { return known }
    let made = ConvolutionRows(lengths, taps: taps, device: device)
    knownTaps[taps] = made
    return made
  }
}

/// Sequences, each behind the `taps - 1` inputs before its first token.
struct ConvolutionRows {
  let sequenceCount: Int
  /// Rows of `[sequences · (taps - 1) inputs before | tokens]`, sequence by sequence. `[padded]`
  let padded: Tensor
  /// The first row that each token's convolution sees of them; nil: one after another. `[T]`
  let first: Tensor?
  /// Of each sequence the last `taps - 1` rows. `[sequences · (taps - 1)]`
  let last: Tensor

  init(_ lengths: [Int], taps: Int, device: Device) {
    sequenceCount = lengths.count
    let before = taps - 1
    var (padded, first, last) = ([Int](), [Int](), [Int]())
    var token = lengths.count * before
    for (sequence, length) in lengths.enumerated() {
      first += padded.count..<padded.count + length
      padded += sequence * before..<(sequence + 1) * before
      padded += token..<token + length
      last += padded.count - before..<padded.count
      token += length
    }
    self.padded = Tensor(padded).to(device: device)
    self.first = lengths.count == 1 ? nil : Tensor(first).to(device: device)
    self.last = Tensor(last).to(device: device)
  }
}

/// Sequences cut into chunks of equal size, whose ends are filled up: the first chunks of all sequences, then the second
/// ones, and so on; longer sequences stand first.
struct ChunkRows {
  let size: Int
  /// How many sequences have a first chunk, a second, …: never rising.
  let counts: [Int]
  /// The token in each cell of the chunks; one past the last: nothing. `[chunks · size]`
  let cells: Tensor
  /// Whether some cells hold nothing.
  let areFilled: Bool
  /// Where each token stands among the cells. `[T]`
  let places: Tensor
  /// The sequences in their order here, and where each of them stands in it; nil: in the batch's. `[sequences]`
  let order: (sequences: Tensor, places: Tensor)?

  init(_ lengths: [Int], size: Int, device: Device) {
    self.size = size
    var (starts, total) = ([Int](), 0)
    for length in lengths {
      starts.append(total)
      total += length
    }
    let chunkCounts = lengths.map { ($0 + size - 1) / size }
    let sorted = lengths.indices.sorted { (-chunkCounts[$0], $0) < (-chunkCounts[$1], $1) }
    var (counts, cells, places) = ([Int](), [Int](), Array(repeating: 0, count: total))
    for chunk in 0..<(chunkCounts.max() ?? 0) {
      let members = sorted.prefix { chunkCounts[$0] > chunk }
      counts.append(members.count)
      for sequence in members {
        let tokens = starts[sequence] + chunk * size..<starts[sequence] + min((chunk + 1) * size, lengths[sequence])
        for (place, token) in tokens.enumerated() { places[token] = cells.count + place }
        cells += tokens
        cells += repeatElement(total, count: size - tokens.count)
      }
    }
    (self.counts, areFilled) = (counts, cells.count > total)
    self.cells = Tensor(cells).to(device: device)
    self.places = Tensor(places).to(device: device)
    guard !sorted.elementsEqual(lengths.indices) else {
      order = nil
      return
    }
    var inverse = Array(repeating: 0, count: sorted.count)
    for (place, sequence) in sorted.enumerated() { inverse[sequence] = place }
    order = (Tensor(sorted).to(device: device), Tensor(inverse).to(device: device))
  }
}
