import Orchestration

extension TrainValidationTests {
  /// About external engines and the way of the weights.
  static let engines: [Rule] = [
    Rule("--rollout-external", "add --rollout-external-engine-addrs") { $0.cluster.usesExternalEngines = true },
    Rule("names an engine twice", "a:1 a:1") { $0.cluster.externalEngines = ["a:1", "a:1"] },
    Rule("--colocate", "--rollout-external") { ($0.cluster.externalEngines, $0.cluster.colocate) = (["a:1"], true) },
    Rule("--rollout-num-gpus", "--rollout-external") { ($0.cluster.externalEngines, $0.cluster.rolloutGPUs) = (["a:1"], 2) },
    Rule("--sglang-context-length", "give them to the servers") {
      ($0.cluster.externalEngines, $0.engine.pageSize) = (["a:1"], 8)
    },
    Rule("--rollout-external-engine-addrs", "no effect") {
      $0.cluster.externalEngines = ["a:1"]
      $0.debug.loadRolloutData = "{rollout_id}"
    },
    Rule("--update-weight-transport http", "--rollout-external") { $0.backend.updateWeightTransport = .http },
    Rule("--update-weight-transport disk", "--update-weight-disk-dir") { $0.backend.updateWeightTransport = .disk },
    Rule("--update-weight-disk-dir", "no effect") { $0.backend.weightFolder = "weights" },
    Rule("--update-weight-disk-keep-files", "no effect") { $0.backend.keepsWeightFiles = true },
    Rule("--update-weight-mode delta", "--update-weight-transport disk") { $0.backend.updateWeightMode = .delta },
    delta("--colocate", "use full") { $0.cluster.colocate = true },
    delta("--update-weight-local-checkpoint-dir") { $0.backend.localWeightFolder = nil },
    delta("--update-weight-local-checkpoint-dir", "folder of its own") { $0.backend.localWeightFolder = "weights" },
    delta("--update-weight-delta-encoding", "add it") { $0.backend.updateWeightMode = .full },
    Rule("--update-weight-transport", "no effect") {
      ($0.backend.updateWeightTransport, $0.backend.weightFolder) = (.disk, "weights")
      $0.debug.rolloutOnly = true
    },
  ]

  private static func delta(_ words: String..., spoil: (inout TrainConfiguration) -> Void) -> Rule {
    var rule = Rule("") {
      ($0.backend.updateWeightTransport, $0.backend.updateWeightMode) = (.disk, .delta)
      ($0.backend.weightFolder, $0.backend.localWeightFolder, $0.backend.deltaEncoding) = ("weights", "local", .overwrite)
      spoil(&$0)
    }
    rule.words = words
    return rule
  }
}
