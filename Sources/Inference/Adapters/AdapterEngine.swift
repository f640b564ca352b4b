import Foundation
import JSON

/// An engine that serves requests with LoRA adapters, which come and go while it runs.
public protocol AdapterEngine: GenerationEngine {
  /// Reads the adapter in a PEFT folder; requests may name it from then on.
  /// - Throws: `InvalidRequest` when there is something wrong with it, the engine takes none, or the name is taken.
  func loadAdapter(_ name: String, from folder: URL) async throws

  /// The same of an adapter that is in no folder.
  /// - Parameters:
  ///   - configuration: what its adapter_config.json would hold.
  ///   - tensors: named as PEFT names them, of any dtype.
  func loadAdapter(_ name: String, configuration: JSONValue, tensors: [NamedBytes]) async throws

  /// Takes no more requests that name the adapter, and returns when the last of those that it serves has ended. The name is
  /// free at once.
  /// - Throws: `InvalidRequest` when there is none of this name.
  func unloadAdapter(_ name: String) async throws
}

extension InvalidRequest {
  static let adaptersAreOff = InvalidRequest("This engine was started without LoRA adapters; start it with --enable-lora.")
}

extension GenerateRequest {
  /// - Parameter adapters: those that are loaded; nil: the engine takes none.
  /// - Throws: `InvalidRequest` when the request names an adapter that is not among them.
  package func checkAdapter(among adapters: [AdapterDescription]?) throws(InvalidRequest) {
    guard let adapter else { return }
    guard let adapters else { throw .adaptersAreOff }
    guard !adapters.contains(where: { $0.name == adapter }) else { return }
    let names = adapters.isEmpty ? "none" : adapters.map(\.name).joined(separator: ", ")
    throw InvalidRequest(
      "There is no adapter \(adapter); loaded are \(names). Load it with /load_lora_adapter, or name one of these.")
  }
}
