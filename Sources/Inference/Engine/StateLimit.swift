import Models

/// How many requests may run at once, for the states that the model keeps of each.
///
/// Their memory is taken from that of the KV cache, at most half of it: with states as large as the KV of thousands of
/// tokens, fewer requests may run than `maxRunningRequests` says (SGLang lowers it for hybrid models as well). A quarter of
/// the places is for prefixes.
struct StateLimit {
  let requests: Int
  /// Places for states; nil: the model keeps none.
  let slots: Int?
  /// What they take, on each rank.
  let bytes: Int

  /// - Throws: `EngineError` where there is no room for those of one request.
  init(_ configuration: ModelConfiguration, _ options: EngineOptions, _ ranks: EngineRanks) throws {
    guard let linear = configuration.linearAttention else {
      (requests, slots, bytes) = (options.maxRunningRequests, nil, 0)
      return
    }
    let each = StateCache.bytesPerRequest(
      linear, dtype: ranks.runner.dtype, tensorParallelSize: options.tensorParallelSize)
    let room = try ranks.smallest { try $0.cacheBytes(options) } / 2
    guard room >= each else {
      throw EngineError(
        "The states of one request take \(each) bytes, and half of the memory for the KV cache is \(room); give it more.")
    }
    let running = options.maxRunningRequests
    let most = options.disableRadixCache ? running : running + (running + 2) / 3
    let places = min(room / each, most)
    requests = min(running, options.disableRadixCache ? places : places - places / 4)
    (slots, bytes) = (places, places * each)
  }
}

extension EngineOptions {
  /// - Throws: `EngineError` about what does not go with layers of gated delta rule.
  func requireStates(of configuration: ModelConfiguration) throws {
    guard configuration.linearAttention != nil else { return }
    let type = configuration.modelType
    if speculative != nil {
      throw EngineError(
        "Speculative decoding takes back tokens that were wrong, and the layers of gated delta rule of a model of type \(type) "
          + "keep states that hold them; leave --speculative-algorithm out.")
    }
    if adapters != nil {
      throw EngineError(
        "LoRA adapters add to whole projections, of which a model of type \(type) computes with the parts; leave --enable-lora "
          + "and --lora-paths out.")
    }
  }
}
