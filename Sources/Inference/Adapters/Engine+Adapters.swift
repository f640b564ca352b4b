import Foundation
import JSON

extension Engine: AdapterEngine {
  public func loadAdapter(_ name: String, from folder: URL) async throws {
    try await loadAdapter { try $0.load(name, from: folder) }
  }

  public func loadAdapter(_ name: String, configuration: JSONValue, tensors: [NamedBytes]) async throws {
    try await loadAdapter { try $0.load(name, configuration: configuration, tensors: tensors) }
  }

  private func loadAdapter(_ load: @escaping @Sendable (AdapterLoader) throws -> Adapter) async throws {
    guard let adapterLoader else { throw InvalidRequest.adaptersAreOff }
    let adapter = try await withCheckedThrowingContinuation { continuation in
      // Reading blocks.
      DispatchQueue.global().async { continuation.resume(with: Result { HandedOver(try load(adapterLoader)) }) }
    }
    try await perform { try $0.load(adapter) }
  }

  public func unloadAdapter(_ name: String) async throws {
    guard adapterLoader != nil else { throw InvalidRequest.adaptersAreOff }
    try await performAnswering { core, answer in core.unloadAdapter(name, answer) }
  }
}
