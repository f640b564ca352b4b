import Torch

extension PolicyTrainer {
  /// Log-probability and entropy of every token but the first, given those before it.
  /// - Returns: the sequences that this rank answers for, by their place in `sequences`; each is answered for by one rank.
  public func score(_ sequences: [[Int32]], tokensPerPack: Int) throws -> [ScoredSequence] {
    let vocabulary = backend.configuration.vocabularySize
    for (index, tokens) in sequences.enumerated() {
      if let bad = tokens.first(where: { $0 < 0 || $0 >= vocabulary }) {
        throw TrainingError("sequence \(index) holds token id \(bad), but the model's vocabulary ends at \(vocabulary - 1)")
      }
    }
    let (parallel, group) = (backend.parallel, backend.microBatchGroup)
    let (rank, ranks) = (parallel.coordinates.data, parallel.layout.dataParallelSize)
    let scorable = sequences.indices.filter { !sequences[$0].isEmpty }
    let bins = firstFit(scorable.map { sequences[$0].count }, cap: tokensPerPack).map { $0.map { scorable[$0] } }
    // All ranks run equally many passes, since passes hold collectives: an idle rank scores one token and drops it.
    let rounds = (bins.count + ranks * group - 1) / (ranks * group) * group
    let members = (0..<rounds).map { $0 * ranks + rank }.map { $0 < bins.count ? bins[$0] : [] }
    let packs = members.map { pack($0.isEmpty ? [[0]] : $0.map { sequences[$0] }) }
    return try catchingTorchErrors {
      var results: [Int: ScoredSequence] = [:]
      for index in members.joined() {
        let zeros = [Float](repeating: 0, count: sequences[index].count - 1)
        results[index] = ScoredSequence(index: index, logProbs: zeros, entropy: zeros)
      }
      try backend.evaluate(packs, policy: .actor, temperature: 1) { place, output in
        guard !members[place].isEmpty, case .vocabulary(let statistics) = output else { return }
        let logProbs: [Float] = statistics.logProbs.array()
        let entropy: [Float] = statistics.entropy.array()
        for (token, (sample, position)) in packs[place].predicted.enumerated() {
          results[members[place][sample]]!.logProbs[position] = logProbs[token]
          results[members[place][sample]]!.entropy[position] = entropy[token]
        }
      }
      guard isLastStage else { return [] }
      for index in results.keys.sorted() {
        results[index]!.logProbs = completed(results[index]!.logProbs)
        results[index]!.entropy = completed(results[index]!.entropy)
      }
      guard answersForSamples else { return [] }
      let empty = sequences.indices.filter { rank == 0 && sequences[$0].isEmpty }
        .map { ScoredSequence(index: $0, logProbs: [], entropy: []) }
      return results.values.sorted { $0.index < $1.index } + empty
    }
  }
}
