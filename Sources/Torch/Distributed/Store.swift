import CTorch
import Foundation

/// Where ranks find each other: a small shared key-value store.
public final class Store: @unchecked Sendable {
  let handle: ct_store

  private init(_ what: String, _ body: () -> ct_store?) throws {
    handle = try requireHandle(orThrow: { "\(what) could not be made: \($0)" }, body)
  }

  deinit { ct_store_release(handle) }

  /// For ranks that are threads of one process.
  public static func inProcess() throws -> Store { try Store("a store in this process") { ct_hash_store() } }

  /// Over TCP; the rank with `isServer` listens, on a free port when `port` is 0.
  public static func tcp(host: String, port: Int, isServer: Bool, rankCount: Int, timeout: Duration) throws -> Store {
    guard let port = UInt16(exactly: port), isServer || port != 0 else {
      throw TorchError("\(port) is not a TCP port; use one from 1 to 65535")
    }
    return try Store("a TCP store at \(host):\(port)") {
      ct_tcp_store(host, port, isServer, Int32(rankCount), timeout.milliseconds)
    }
  }

  /// The port that a TCP store listens on; 0 for other stores.
  public var port: Int {
    withExtendedLifetime(self) { Int(isolatingTorchError { ct_tcp_store_port(handle) }.0) }
  }

  /// The same store with every key under `prefix`.
  public func prefixed(_ prefix: String) throws -> Store {
    try withExtendedLifetime(self) { try Store("the store '\(prefix)'") { ct_prefix_store(prefix, handle) } }
  }

  public func set(_ key: String, _ value: String) throws {
    let (_, error) = withExtendedLifetime(self) { isolatingTorchError { ct_store_set(handle, key, value) } }
    if let error { throw TorchError("'\(key)' could not be written to the store: \(error)") }
  }

  /// Waits for the key.
  public func get(_ key: String, timeout: Duration) throws -> String {
    let text = try withExtendedLifetime(self) {
      try requireHandle(orThrow: { "no rank wrote '\(key)' within \(timeout): \($0)" }) {
        ct_store_get(handle, key, timeout.milliseconds)
      }
    }
    defer { free(text) }
    return String(cString: text)
  }
}

extension Duration {
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
