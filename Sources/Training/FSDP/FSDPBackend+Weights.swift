import Checkpoints
import Models
import Parallelism
import Torch

extension FSDPBackend {
  public var weightUnitSizes: [Int] {
    actor.sharded.parts.map { part in
      part.constants.reduce(0) { $0 + $1.count }
        + part.units.reduce(0) { sum, unit in
          // Of divided experts each rank of the group holds as many.
          let ranks = unit.holdsDividedExperts ? parallel.expert.size : 1
          return sum + unit.parameters.reduce(0) { $0 + $1.parameter.count } * ranks
        }
    }
  }

  public func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)] {
    try catchingTorchErrors {
      actor.sharded.parts[index].whole().flatMap { parameter, value in
        guard parameter.sharing.isExpert, parallel.expert.size > 1 else { return checkpointTensors(parameter, value) }
        return checkpointTensors(
          actor.undivided[parameter.name]!, withoutGradients { value.gathered(from: parallel.expert) })
      }
    }
  }

  public var heldWeights: [HeldWeight] {
    withoutGradients {
      actor.sharded.units.flatMap { pieces($0, $0.shard.detached()) }
        + constants.flatMap { constant in
          zip(constant.pieces, checkpointTensors(constant, constant.tensor)).map {
            HeldWeight(name: $1.name, shape: $0.shape, box: TensorBox(whole: $0.shape), values: $1.tensor)
          }
        }
    }
  }
}
