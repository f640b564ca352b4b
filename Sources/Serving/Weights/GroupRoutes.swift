import Foundation
import Hummingbird
import Inference
import JSON
import Torch
import WeightSync

extension ServerState {
  func addGroupRoutes(to router: Router<ServingContext>) {
    control("init_weights_update_group", router) { fields, engine in
      let rankCount = try await engine.weightShards().count
      let place = try groupPlace(fields, rankCount)
      do {
        try await weights.groups.join(place, rankCount: rankCount)
      } catch {
        throw InvalidRequest("Failed to initialize custom process group: \(error).")
      }
      return ["message": "Succeeded to initialize custom process group."]
    }
    control("destroy_weights_update_group", router) { fields, _ in
      try fields.expectOnly(["group_name"])
      try await weights.groups.destroy(fields.string("group_name") ?? Self.defaultGroup)
      return ["message": "Succeeded to destroy custom process group."]
    }
    control("update_weights_from_distributed", router) { fields, engine in
      try fields.expectOnly([
        "names", "dtypes", "shapes", "group_name", "load_format", "checksum", "flush_cache", "abort_all_requests",
        "retract_requests", "weight_version", "selector", "disable_draft_model", "torch_empty_cache",
      ])
      let installation = try installation(fields)
      let isFlattened = try fields.string("load_format") == "flattened_bucket"
      let bucket: [NamedTensor]
      do {
        bucket = try await weights.groups.receive(
          descriptions(fields), from: fields.string("group_name") ?? Self.defaultGroup, flattened: isFlattened,
          checksum: fields.string("checksum"))
      } catch {
        throw InvalidRequest("Failed to receive weights: \(error)")
      }
      let isInForce = try await weights.take(bucket, installation, engine)
      return ["message": .string("Succeeded to update parameter online." + Self.suffix(installation, isInForce))]
    }
  }

  private static let defaultGroup = "weight_update_group"

  private func groupPlace(_ fields: Fields, _ rankCount: Int) throws -> WeightGroupPlace {
    try fields.expectOnly(["master_address", "master_port", "rank_offset", "world_size", "group_name", "backend"])
    guard let address = try fields.string("master_address"), let port = try fields.int("master_port"),
      let rank = try fields.int("rank_offset"), let size = try fields.int("world_size")
    else { throw InvalidRequest("master_address, master_port, rank_offset and world_size are needed.") }
    guard (1...65535).contains(port) else { throw InvalidRequest("master_port must be from 1 to 65535, got \(port).") }
    guard rank >= 1, rank + rankCount <= size else {
      throw InvalidRequest(
        "rank_offset must be from 1 to world_size - \(rankCount), got \(rank) of \(size): rank 0 is the sender, and this engine has \(rankCount) ranks.")
    }
    let device: Device = switch try fields.string("backend") ?? "nccl" {
    case "gloo": .cpu
    case "nccl": configuration.device
    case let other: throw InvalidRequest("backend must be nccl or gloo, got \(other).")
    }
    guard device.kind == .cuda || fields.object["backend"] == "gloo" else {
      throw InvalidRequest("backend nccl needs a GPU, and this engine runs on a CPU; use gloo.")
    }
    return WeightGroupPlace(
      name: try fields.string("group_name") ?? Self.defaultGroup, address: address, port: port, rank: rank, size: size,
      device: device)
  }

  private func descriptions(_ fields: Fields) throws -> [WeightDescription] {
    guard let names = try fields.typed("names", "an array of strings", \.strings),
      let dtypes = try fields.typed("dtypes", "an array of strings", \.strings),
      let shapes = try fields.array("shapes")
    else { throw InvalidRequest("names, dtypes and shapes are needed.") }
    guard names.count == dtypes.count, names.count == shapes.count else {
      throw InvalidRequest("there are \(names.count) names, \(dtypes.count) dtypes and \(shapes.count) shapes.")
    }
    return try names.indices.map { i in
      let dtypeName = dtypes[i].hasPrefix("torch.") ? String(dtypes[i].dropFirst(6)) : dtypes[i]
      guard let dtype = DType(name: dtypeName) else {
        throw InvalidRequest("the tensor '\(names[i])' has the unknown dtype \(dtypes[i]).")
      }
      guard let shape = shapes[i].ints, shape.allSatisfy({ (0..<1 << 32).contains($0) }),
        shape.reduce(1.0, { $0 * Double($1) }) < 1e12
      else { throw InvalidRequest("the tensor '\(names[i])' has no sound shape.") }
      return WeightDescription(names[i], dtype: dtype, shape: shape)
    }
  }
}
