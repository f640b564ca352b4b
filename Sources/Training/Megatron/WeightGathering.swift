import Models
import Parallelism
import Torch

/// Brings the parts of a model that ranks hold together on rank 0, unit by unit.
///
/// What every rank holds follows from the layout: the same module code, built for each of them without memory, says it.
final class WeightGathering {
  /// One rank's part of a checkpoint tensor.
  private struct Part {
    let rank: Int
    let chunk: Int
    let parameter: String
    let isLearned: Bool
    let rows: Range<Int>
    let piece: ParameterPiece
  }

  /// The embedding, each layer, prediction layers too, and the head.
  private let units: [[Part]]
  let unitSizes: [Int]
  private let parallel: ParallelContext

  init(_ configuration: ModelConfiguration, _ stages: StagePlan, parallel: ParallelContext) throws {
    struct Key: Hashable {
      let name: String
      let slice: ParameterPiece.Slice?
    }
    self.parallel = parallel
    let layout = parallel.layout
    let head = configuration.layerCount + configuration.predictionLayerCount + 1
    var units = Array(repeating: [Part](), count: head + 1)
    var seen = Set<Key>()
    for rank in 0..<layout.worldSize {
      let place = layout.coordinates(of: rank)
      // Other ranks hold nothing that these do not.
      guard place.data == 0 && place.context == 0 || place.expertData == 0 else { continue }
      let other = ParallelContext.imagined(layout, rank: rank)
      for (chunk, model) in try stages.models(configuration, other, dtype: .float32).enumerated() {
        for parameter in model.table.parameters {
          for (piece, rows) in parameter.rows where seen.insert(Key(name: piece.checkpointName, slice: piece.slice)).inserted {
            let unit = CausalLM.layer(of: piece.checkpointName).map { $0 + 1 }
              ?? (parameter.name.hasPrefix("model.embed_tokens") ? 0 : head)
            units[unit].append(
              Part(
                rank: rank, chunk: chunk, parameter: parameter.name, isLearned: parameter.isLearned, rows: rows, piece: piece))
          }
        }
      }
    }
    self.units = units
    unitSizes = units.map { $0.reduce(0) { $0 + $1.piece.localShape.reduce(1, *) } }
  }

  /// A unit's tensors, whole and in fp32, on rank 0; none elsewhere. Every rank must ask for the same unit.
  func weights(ofUnit index: Int, _ chunks: [CausalLM]) -> [(name: String, tensor: Tensor)] {
    withoutGradients {
      var names: [String] = []
      var whole: [String: Tensor] = [:]
      for part in units[index] where part.rank == parallel.rank || parallel.rank == 0 {
        var local: Tensor
        if part.rank == parallel.rank {
          // Registered names are the same on every rank that holds them.
          local = chunks[part.chunk].table[part.parameter]!.tensor.detached()[part.rows].contiguous()
          if parallel.rank != 0 {
            parallel.world.send(local, to: 0)
            continue
          }
        } else {
          local = .empty(
            part.piece.localShape, dtype: part.isLearned ? chunks[0].table.dtype : .float32, device: parallel.device)
          parallel.world.receive(local, from: part.rank)
        }
        local = local.to(dtype: .float32)
        let name = part.piece.checkpointName
        guard let slice = part.piece.slice else {
          names.append(name)
          whole[name] = local
          continue
        }
        if whole[name] == nil {
          names.append(name)
          whole[name] = .empty(part.piece.shape, device: parallel.device)
        }
        let range = slice.range(of: part.piece.shape[slice.dimension])
        whole[name]!.narrow(slice.dimension, start: range.lowerBound, length: range.count).copy_(local)
      }
      return names.map { ($0, whole[$0]!) }
    }
  }
}
