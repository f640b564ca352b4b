/// The rules about external engines, and about the way to the engines' weights.
extension TrainConfiguration {
  func validateEngines() throws(ConfigurationError) {
    if cluster.isExternal { try validateExternal() }
    try validateWeightUpdate()
  }

  private func validateExternal() throws(ConfigurationError) {
    try require(
      !cluster.externalEngines.isEmpty,
      "--rollout-external uses engines that run already; add --rollout-external-engine-addrs HOST:PORT…")
    try require(
      Set(cluster.externalEngines).count == cluster.externalEngines.count,
      "--rollout-external-engine-addrs names an engine twice: \(cluster.externalEngines.joined(separator: " "))")
    try require(
      usesEngine,
      "--rollout-external-engine-addrs has no effect where no engine samples; leave it out")
    let set: [(String, Bool)] = [
      ("colocate", cluster.colocate), ("rollout-num-gpus", cluster.rolloutGPUs != nil),
      ("rollout-num-gpus-per-engine", cluster.rolloutGPUsPerEngine != 1),
    ]
    for (flag, isSet) in set where isSet {
      throw ConfigurationError("--\(flag) is about engines that the run starts, and contradicts --rollout-external; leave it out")
    }
    try require(
      engine == EngineConfiguration(),
      "--sglang-context-length and its like set up engines that the run starts; with --rollout-external, give them to the servers")
  }

  private func validateWeightUpdate() throws(ConfigurationError) {
    let isSet = backend.updateWeightTransport != nil || backend.updateWeightMode == .delta
    try require(
      !isSet || (usesEngine && trains),
      "--update-weight-transport and --update-weight-mode have no effect where no engine is sent weights; leave them out")
    try require(
      backend.weightTransport != .http || cluster.isExternal,
      "--update-weight-transport http is for engines that run already (--rollout-external); leave it out")
    if backend.weightTransport == .disk {
      try require(
        backend.weightFolder?.isEmpty == false,
        "--update-weight-transport disk needs --update-weight-disk-dir FOLDER, which trainer and engines see")
    } else {
      try require(
        backend.weightFolder == nil && !backend.keepsWeightFiles,
        "--update-weight-disk-dir and --update-weight-disk-keep-files have no effect without --update-weight-transport disk; add it")
      try require(
        backend.updateWeightMode == .full,
        "--update-weight-mode delta goes through files; add --update-weight-transport disk")
    }
    if backend.updateWeightMode == .delta {
      try require(!cluster.colocate, "--update-weight-mode delta is for engines elsewhere, and contradicts --colocate; use full")
      try require(
        backend.localWeightFolder?.isEmpty == false,
        "--update-weight-mode delta needs --update-weight-local-checkpoint-dir FOLDER, on each engine's own machine")
      try require(
        backend.localWeightFolder != backend.weightFolder,
        "--update-weight-local-checkpoint-dir must not be --update-weight-disk-dir; give an engine's copy a folder of its own")
    } else {
      try require(
        backend.localWeightFolder == nil && backend.deltaEncoding == nil && backend.deltaChecksum == nil,
        "--update-weight-local-checkpoint-dir, --update-weight-delta-encoding and --update-weight-delta-checksum have no effect "
          + "without --update-weight-mode delta; add it")
    }
  }
}
