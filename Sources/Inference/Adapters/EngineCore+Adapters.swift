import Torch

extension EngineCore {
  /// - Throws: `InvalidRequest` where the name is taken.
  func load(_ adapter: HandedOver<Adapter>) throws {
    try adapters.requireFree(adapter.value.description.name)
    let id = adapters.add(adapter.value.description)
    try ranks.onEvery { try $0.add(adapter.value, id: id) }
  }

  /// Takes no more requests with an adapter.
  /// - Parameter done: is called when its last request has ended.
  func unloadAdapter(_ name: String, _ done: @escaping AdapterWaiter) {
    do {
      let (id, isGone) = try adapters.unload(name)
      waitersForAdapters[id] = done
      if isGone { drop(id) }
    } catch {
      done(.failure(error))
    }
  }

  /// The number of the adapter that a request names.
  func adapter(of request: GenerateRequest) throws(InvalidRequest) -> Int? {
    try request.checkAdapter(among: options.adapters == nil ? nil : adapters.descriptions)
    return request.adapter.flatMap { adapters.id(of: $0) }
  }

  /// A request that used an adapter is over.
  func leaveAdapter(_ id: Int) {
    if adapters.end(id) { drop(id) }
  }

  private func drop(_ id: Int) {
    let result = Result { try ranks.onEvery { $0.removeAdapter(id) } }
    waitersForAdapters.removeValue(forKey: id)?(result)
  }
}

/// Somebody who waits until an adapter is gone.
typealias AdapterWaiter = @Sendable (Result<Void, any Error>) -> Void

extension ModelRunner {
  func add(_ adapter: Adapter, id: Int) throws { try catchingTorchErrors { adapters!.add(adapter, id: id) } }
  func removeAdapter(_ id: Int) { adapters!.remove(id) }
}
