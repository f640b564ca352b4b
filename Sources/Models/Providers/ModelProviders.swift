import Foundation
import Synchronization

/// The model providers that this process can be told to use, by name or by the path of a library.
public enum ModelProviders {
  private static let registered = Mutex<[String: any ModelProvider]>([:])

  /// Makes a provider known under a name. A program that is built with its provider does so before it starts anything, in
  /// its worker processes too.
  public static func register(_ name: String, _ provider: any ModelProvider) { registered.withLock { $0[name] = provider } }

  /// The provider of a library (`FILE.so`, or `FILE.so:SYMBOL`), or one that was registered under this name.
  /// - Throws: `ModelError` when there is none.
  public static func named(_ name: String) throws -> NamedModelProvider {
    if let known = registered.withLock({ $0[name] }) { return NamedModelProvider(name: name, provider: known) }
    let parts = name.split(separator: ":", maxSplits: 1).map(String.init)
    guard let file = parts.first, file.hasSuffix(".so") else {
      let names = registered.withLock { $0.keys.sorted() }
      throw ModelError(
        "--custom-model-provider-path '\(name)' is neither a Swift library (FILE.so) nor the name of a registered provider "
          + (names.isEmpty ? "(none is registered)" : "(these are: \(names.joined(separator: ", ")))"))
    }
    let provider = try load(file, symbol: parts.count > 1 ? parts[1] : defaultSymbol)
    register(name, provider)
    return NamedModelProvider(name: name, provider: provider)
  }

  /// What a library's function is called when the path does not say.
  private static let defaultSymbol = "slime_model_provider"

  private static func load(_ file: String, symbol: String) throws -> any ModelProvider {
    guard FileManager.default.fileExists(atPath: file) else {
      throw ModelError("--custom-model-provider-path \(file) does not exist; build the library first")
    }
    // A library shares the Swift runtime of the program that loads it, which a static program keeps to itself.
    guard dlsym(nil, "swift_getTypeByMangledNameInContext") != nil else {
      throw ModelError(
        "--custom-model-provider-path \(file): this program is linked statically and cannot load a Swift library; "
          + "run it through ./slime, which then uses the build that can")
    }
    guard let library = dlopen(URL(fileURLWithPath: file).path, RTLD_NOW | RTLD_LOCAL) else {
      throw ModelError(
        "--custom-model-provider-path \(file) cannot be loaded: \(dlerror().map { String(cString: $0) } ?? "unknown reason"); "
          + "build it against this version")
    }
    guard let function = dlsym(library, symbol) else {
      throw ModelError(
        "--custom-model-provider-path \(file) has no function '\(symbol)'; it needs "
          + "@_cdecl(\"\(symbol)\") public func … -> UnsafeMutableRawPointer, or give FILE.so:SYMBOL")
    }
    let make = unsafeBitCast(function, to: (@convention(c) () -> UnsafeMutableRawPointer).self)
    return Unmanaged<ModelProviderHandle>.fromOpaque(make()).takeRetainedValue().provider
  }
}

/// How a library hands its provider over: its function returns `ModelProviderHandle(…).pointer`.
public final class ModelProviderHandle {
  let provider: any ModelProvider

  public init(_ provider: any ModelProvider) { self.provider = provider }

  /// Owned by whoever takes it.
  public var pointer: UnsafeMutableRawPointer { Unmanaged.passRetained(self).toOpaque() }
}
