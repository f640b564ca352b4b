import Models

/// How many requests may run at once, for the states that the model keeps of each.
///
/// Their memory is taken from that of the KV cache, at most half of it: with states as large as the KV of thousands of
/// tokens, fewer requests run than `maxRunningRequests` says (SGLang lowers it for hybrid models as well).
struct StateLimit {
  let requests: Int
  /// Whether the model keeps states.
  let isHeld: Bool
  /// What they take, on each rank.
  let bytes: Int

  /// - Throws: `EngineError` where there is no room for those of one request.
  init(_ configuration: ModelConfiguration, _ options: EngineOptions, _ ranks: EngineRanks) throws {
    guard let linear = configuration.linearAttention else {
      (requests, isHeld, bytes) = (options.maxRunningRequests, false, 0)
      return
    }
    let each = StateCache.bytesPerRequest(
      linear, dtype: ranks.runner.dtype, tensorParallelSize: options.tensorParallelSize)
    let room = try ranks.smallest { try $0.cacheBytes(options) } / 2
    guard room >= each else {
      throw EngineError(
        "The states of one request take \(each) bytes, and half of the memory for the KV cache is \(room); give it more.")
    }
    (requests, isHeld) = (min(options.maxRunningRequests, room / each), true)
    bytes = requests * each
  }
}

extension EngineOptions {
  /// - Throws: `EngineError` about what cannot take back tokens of which a model keeps states.
  func requireStates(of configuration: ModelConfiguration) throws {
    guard speculative != nil, configuration.linearAttention != nil else { return }
    throw EngineError(
      "Speculative decoding takes back tokens that were wrong, and the layers of gated delta rule of a model of type "
        + "\(configuration.modelType) keep states that hold them; leave --speculative-algorithm out.")
  }
}
