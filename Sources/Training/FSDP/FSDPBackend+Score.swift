import Torch

extension FSDPBackend {
  public func score(_ sequences: [[Int32]], tokensPerPack: Int) throws -> [ScoredSequence] {
    let (vocabulary, ranks) = (actor.model.configuration.vocabularySize, parallel.data.size)
    for (index, tokens) in sequences.enumerated() {
      if let bad = tokens.first(where: { $0 < 0 || $0 >= vocabulary }) {
        throw TrainingError("sequence \(index) holds token id \(bad), but the model's vocabulary ends at \(vocabulary - 1)")
      }
    }
    let scorable = sequences.indices.filter { !sequences[$0].isEmpty }
    let bins = firstFit(scorable.map { sequences[$0].count }, cap: tokensPerPack).map { $0.map { scorable[$0] } }
    // All ranks run equally many passes, since each pass gathers weights: an idle rank scores one token and drops it.
    let rounds = (bins.count + ranks - 1) / ranks
    return try catchingTorchErrors {
      var results: [ScoredSequence] = []
      for round in 0..<rounds {
        let place = round * ranks + parallel.data.rank
        let members = place < bins.count ? bins[place] : []
        let rows: [[Int32]] = members.isEmpty ? [[0]] : members.map { sequences[$0] }
        let pack = PackedBatch(rows.map { ($0[...], $0.count - 1) }, device: parallel.device)
        let statistics = actor.frozenStatistics(pack, temperature: 1)
        let logProbs: [Float] = statistics.logProbs.array()
        let entropy: [Float] = statistics.entropy.array()
        var start = 0
        for index in members {
          let range = start..<start + sequences[index].count - 1
          results.append(
            ScoredSequence(index: index, logProbs: Array(logProbs[range]), entropy: Array(entropy[range])))
          start = range.upperBound
        }
      }
      let scored = Set(scorable)
      if parallel.data.rank == 0 {
        results += sequences.indices.filter { !scored.contains($0) }
          .map { ScoredSequence(index: $0, logProbs: [], entropy: []) }
      }
      return results
    }
  }
}
