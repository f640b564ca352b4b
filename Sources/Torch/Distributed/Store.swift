import CTorch
import Foundation

/// Where ranks find each other: a small shared key-value store.
public final class Store: @unchecked Sendable {
  let handle: ct_store

  private init(_ handle: ct_store?) throws {
    guard let handle else { throw takeTorchError() ?? TorchError("no store could be made") }
    self.handle = handle
  }

  deinit { ct_store_release(handle) }

  /// For ranks that are threads of one process.
  public static func inProcess() throws -> Store { try Store(ct_hash_store()) }

  /// Over TCP; the rank with `isServer` listens, on a free port when `port` is 0.
  public static func tcp(host: String, port: Int, isServer: Bool, rankCount: Int, timeout: Duration) throws -> Store {
    try Store(ct_tcp_store(host, UInt16(port), isServer, Int32(rankCount), timeout.milliseconds))
  }

  /// The port that a TCP store listens on.
  public var port: Int { Int(ct_tcp_store_port(handle)) }

  /// The same store with every key under `prefix`.
  public func prefixed(_ prefix: String) throws -> Store { try Store(ct_prefix_store(prefix, handle)) }

  public func set(_ key: String, _ value: String) throws {
    ct_store_set(handle, key, value)
    if let error = takeTorchError() { throw error }
  }

  /// Waits for the key.
  public func get(_ key: String, timeout: Duration) throws -> String {
    guard let text = ct_store_get(handle, key, timeout.milliseconds) else {
      throw TorchError("no rank wrote '\(key)' within \(timeout): \(takeTorchError()?.description ?? "")")
    }
    defer { free(text) }
    return String(cString: text)
  }
}

extension Duration {
  var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}
