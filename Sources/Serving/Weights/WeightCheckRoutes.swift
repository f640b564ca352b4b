import Foundation
import Hummingbird
import Inference
import JSON
import Torch
import WeightSync

extension ServerState {
  func addWeightCheckRoutes(to router: Router<ServingContext>) {
    router.post("get_weights_by_name") { request, _ in
      let fields = try Fields(try await json(request))
      try fields.expectOnly(["name", "truncate_size"])
      guard let weight = try await updatable().weight(named: fields.string("name") ?? "") else {
        throw InvalidRequest("Get parameter by name failed")
      }
      return Response(json: nested(weight, limit: max(0, try fields.int("truncate_size") ?? 100)))
    }
    control("weights_checker", router) { fields, engine in
      try fields.expectOnly(["action", "skip_tensor_list", "allow_quant_error", "selector"])
      switch try fields.string("action") {
      case "checksum": return try await checksums(engine)
      case "snapshot": try await weights.takeSnapshot(engine)
      case "reset_tensors": try await engine.resetWeights()
      case "compare":
        try await weights.compareWithSnapshot(engine, skipping: Set(fields.strings("skip_tensor_list") ?? []))
      default: throw InvalidRequest("action must be checksum, snapshot, reset_tensors or compare.")
      }
      return ["message": "Success."]
    }
    memory("release_memory_occupation", router) { try await $0.releaseMemory($1) }
    memory("resume_memory_occupation", router) { try await $0.resumeMemory($1) }
  }

  private func checksums(_ engine: any UpdatableEngine) async throws -> JSONObject {
    let sums = try await weights.checksums(engine)
    let whole = Array(sums.pairs.map { "\($0.key) \($0.value.string!)\n" }.joined().utf8)
    let total = JSONValue.string(whole.withUnsafeBytes { XXHash64.hex($0) })
    let place: JSONValue = [
      "role": "target", "tp_rank": 0, "tp_size": 1, "dp_rank": 0, "dp_size": 1, "pp_rank": 0, "pp_size": 1, "rank": 0,
      "size": 1,
    ]
    return [
      "message": "Success.",
      "ranks": [["checksums": .object(sums), "per_gpu_checksum": total, "parallelism_info": [place]]],
      "per_engine_checksum": total,
    ]
  }

  /// At most `limit` rows of a tensor, as nested arrays of numbers.
  private func nested(_ weight: NamedBytes, limit: Int) -> JSONValue {
    var shape = weight.shape
    let rowBytes = shape.dropFirst().reduce(weight.dtype.size, *)
    if !shape.isEmpty { shape[0] = min(shape[0], limit) }
    let bytes = weight.bytes.prefix((shape.first ?? 1) * rowBytes)
    let tensor = Tensor.empty(shape, dtype: weight.dtype)
    tensor.withMutableBytes { _ = bytes.copyBytes(to: $0) }
    let values: [Float] = tensor.array()
    func level(_ dimension: Int, _ range: Range<Int>) -> JSONValue {
      guard dimension < shape.count else { return .double(Double(values[range.lowerBound])) }
      let step = shape[dimension] == 0 ? 0 : range.count / shape[dimension]
      return .array((0..<shape[dimension]).map { level(dimension + 1, range.lowerBound + $0 * step..<range.lowerBound + ($0 + 1) * step) })
    }
    return level(0, 0..<values.count)
  }

  private func memory(
    _ path: RouterPath, _ router: Router<ServingContext>,
    _ body: @escaping @Sendable (any UpdatableEngine, Set<MemoryTag>) async throws -> Void
  ) {
    router.post(path) { request, _ in
      let fields = try Fields(try await json(request))
      try fields.expectOnly(["tags"])
      let names = try fields.strings("tags") ?? MemoryTag.allCases.map(\.rawValue)
      let tags = try names.map { name in
        guard let tag = MemoryTag(rawValue: name) else {
          throw InvalidRequest("tags must be of weights, kv_cache and cuda_graph, got \(name).")
        }
        return tag
      }
      try await body(updatable(), Set(tags))
      return Response(json: .null)
    }
  }
}
