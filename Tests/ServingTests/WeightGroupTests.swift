import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// Weights broadcast to a server's engine by a rank 0 of our own.
@Suite(.serialized) struct WeightGroupTests {
  typealias Weights = WeightRoutesTests.Weights

  static func body(_ weights: Weights, _ more: (String, JSONValue)...) -> JSONValue {
    var body: JSONObject = [
      "names": .array(weights.map { .string($0.name) }), "group_name": "g1",
      "dtypes": .array(weights.map { .string($0.tensor.dtype.name) }),
      "shapes": .array(weights.map { .array($0.tensor.shape.map(JSONValue.int)) }),
    ]
    for (key, value) in more { body[key] = value }
    return .object(body)
  }

  /// Rank 0, and a server's engine as rank 1.
  static func meet(_ client: Client, timeout: Duration = .seconds(20)) async throws -> WeightGroup {
    let store = try Store.tcp(host: "127.0.0.1", port: 0, isServer: true, rankCount: 2, timeout: timeout)
    let sender = WeightGroup(
      WeightGroupPlace(name: "g1", address: "127.0.0.1", port: store.port, rank: 0, size: 2, device: .cpu), store: store)
    async let joined: Void = sender.join(timeout: timeout)
    let answer = try await client.post(
      "/init_weights_update_group",
      [
        "master_address": "127.0.0.1", "master_port": .int(store.port), "rank_offset": 1, "world_size": 2,
        "group_name": "g1", "backend": "gloo",
      ])
    #expect(answer.status == 200, "\(answer.body)")
    try await joined
    return sender
  }

  /// Only read while it is sent.
  struct Sent: @unchecked Sendable {
    let weights: Weights
    init(_ weights: Weights) { self.weights = weights }
    func tensors() -> sending [NamedTensor] {
      nonisolated(unsafe) let tensors = weights.map { NamedTensor($0.name, $0.tensor) }
      return tensors
    }
  }

  static func send(_ sent: Sent, _ group: WeightGroup, flattened: Bool) async throws {
    try await group.send(sent.tensors(), flattened: flattened)
  }

  @Test func broadcastsArrive() async throws {
    try await WeightRoutesTests.withEngine { client, engine in
      let group = try await Self.meet(client)
      for (seed, flattened) in [(1, false), (2, true)] as [(UInt64, Bool)] {
        let weights = try WeightRoutesTests.weights(seed)
        let body = Self.body(
          weights, ("weight_version", .string("d\(seed)")), ("load_format", flattened ? "flattened_bucket" : .null))
        async let answer = client.post("/update_weights_from_distributed", body)
        try await Self.send(Sent(weights), group, flattened: flattened)
        #expect(try await answer.json["message"]?.string
          == "Succeeded to update parameter online. Weight version updated to d\(seed).")
        #expect(try await WeightRoutesTests.holds(engine, weights))
      }
      // A wrong name: received, refused, and the group goes on.
      var wrong = try WeightRoutesTests.weights(3)
      wrong[2].name = "model.nothing"
      let refusedBody = Self.body(wrong, ("weight_version", "d3"))
      async let refused = client.post("/update_weights_from_distributed", refusedBody)
      try await Self.send(Sent(wrong), group, flattened: false)
      #expect(WeightRoutesTests.failure(try await refused)?.contains("model.nothing") == true)
      let damaged = try WeightRoutesTests.weights(4)
      let unequalBody = Self.body(damaged, ("checksum", "00"))
      async let unequal = client.post("/update_weights_from_distributed", unequalBody)
      try await Self.send(Sent(damaged), group, flattened: false)
      #expect(WeightRoutesTests.failure(try await unequal)?.contains("checksum") == true)
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(2)))
      #expect(try await WeightRoutesTests.version(client) == "d2")
      let gone = try await client.post("/destroy_weights_update_group", ["group_name": "g1"])
      #expect(gone.status == 200)
      let again = try await client.post("/destroy_weights_update_group", ["group_name": "g1"])
      #expect(WeightRoutesTests.failure(again) == "The group to be destroyed does not exist.")
    }
  }

  @Test func aSenderThatDiesLeavesTheOldWeights() async throws {
    try await WeightRoutesTests.withEngine { client, engine in
      var group: WeightGroup? = try await Self.meet(client)
      #expect(try await client.post("/begin_weight_update", [:]).status == 200)
      let weights = try WeightRoutesTests.weights(5)
      let firstBody = Self.body(Array(weights[..<4]))
      async let first = client.post("/update_weights_from_distributed", firstBody)
      try await Self.send(Sent(Array(weights[..<4])), group!, flattened: false)
      #expect(try await first.status == 200)
      let secondBody = Self.body(Array(weights[4...]))
      async let second = client.post("/update_weights_from_distributed", secondBody)
      try await Task.sleep(for: .milliseconds(50))
      group = nil
      #expect(WeightRoutesTests.failure(try await second)?.contains("Failed to receive weights") == true)
      let served = try await client.generate(["input_ids": [5], "sampling_params": ["max_new_tokens": 2]])
      #expect(served.status == 200)
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(nil)))
      let later = try await client.post("/update_weights_from_distributed", Self.body(weights))
      #expect(WeightRoutesTests.failure(later)?.contains("destroy it") == true)
    }
  }

  /// SGLang stands still for minutes here.
  @Test func anUnreachableMasterBlocksNothing() async throws {
    try await WeightRoutesTests.withEngine(groupTimeout: .milliseconds(600)) { client, _ in
      async let joining = client.post(
        "/init_weights_update_group",
        [
          "master_address": "127.0.0.1", "master_port": 9, "rank_offset": 1, "world_size": 2, "group_name": "g1",
          "backend": "gloo",
        ])
      let served = try await client.generate(["input_ids": [5], "sampling_params": ["max_new_tokens": 4]])
      #expect(served.status == 200)
      #expect(WeightRoutesTests.failure(try await joining)?.contains("127.0.0.1:9") == true)
      for (field, value) in [("backend", "mpi"), ("rank_offset", 0), ("master_port", 0), ("world_size", 1)] as [(String, JSONValue)] {
        var body: JSONObject = [
          "master_address": "127.0.0.1", "master_port": 9, "rank_offset": 1, "world_size": 2, "backend": "gloo",
        ]
        body[field] = value
        #expect(try await client.post("/init_weights_update_group", .object(body)).status == 400)
      }
    }
  }
}
