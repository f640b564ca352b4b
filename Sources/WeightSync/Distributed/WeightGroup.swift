import Foundation
import Inference
import Torch

/// A group of a trainer's rank, which is rank 0 and sends, and of engines, which receive.
public struct WeightGroupPlace: Sendable, Equatable {
  public var name: String
  /// Where rank 0's store listens.
  public var address: String
  public var port: Int
  public var rank: Int
  public var size: Int
  /// A GPU for NCCL, the CPU for Gloo.
  public var device: Device

  public init(name: String, address: String, port: Int, rank: Int, size: Int, device: Device) {
    (self.name, self.address, self.port, self.rank) = (name, address, port, rank)
    (self.size, self.device) = (size, device)
  }
}

/// A tensor that is about to come.
public struct WeightDescription: Sendable, Equatable {
  public var name: String
  public var dtype: DType
  public var shape: [Int]

  public init(_ name: String, dtype: DType, shape: [Int]) { (self.name, self.dtype, self.shape) = (name, dtype, shape) }

  public var byteCount: Int { shape.reduce(dtype.size, *) }
}

/// One rank of a group for weights, on a thread of its own: whoever waits for it, an unreachable or dead peer blocks
/// nothing else, and has a deadline.
public final class WeightGroup: Sendable {
  public let place: WeightGroupPlace
  private let thread: WorkThread<Members>

  /// What lives on the thread.
  private final class Members {
    var store: Store?
    var group: ProcessGroup?
    var failure: (any Error)?
  }

  /// - Parameter store: the store that rank 0 opened; nil: it is looked for at the place's address.
  public init(_ place: WeightGroupPlace, store: Store? = nil) {
    self.place = place
    let members = HandedOver(store)
    thread = WorkThread("weights \(place.name)") {
      let own = Members()
      own.store = members.value
      return own
    }
  }

  /// Meets the other ranks.
  /// - Parameter timeout: for each of: reaching the store, meeting the ranks, and every broadcast later.
  public func join(timeout: Duration) async throws {
    try await thread.run { [place] members in
      try Runtime.open(place.device, for: "the weight group '\(place.name)'")
      let store = try members.store ?? Store.tcp(
        host: place.address, port: place.port, isServer: false, rankCount: place.size, timeout: timeout)
      members.store = store
      members.group = try ProcessGroup.likePyTorch(
        place.name, store: store, rank: place.rank, size: place.size, device: place.device,
        host: localAddress(toward: place.address), timeout: timeout)
    }
  }

  /// Receives what rank 0 broadcasts: tensor by tensor in this order, or all as one row of bytes.
  public func receive(_ weights: [WeightDescription], flattened: Bool) async throws -> sending [NamedTensor] {
    let device = place.device
    let received = try await onGroup { group in
      if flattened {
        let flat = Tensor.empty([weights.reduce(0) { $0 + $1.byteCount }], dtype: .uint8, device: device)
        group.broadcast(flat, from: 0)
        var start = 0
        return HandedOver(weights.map { weight in
          let bytes = flat.narrow(0, start: start, length: weight.byteCount).clone()
          start += weight.byteCount
          return NamedTensor(weight.name, bytes.viewing(weight.dtype).view(weight.shape))
        })
      }
      let tensors = weights.map { NamedTensor($0.name, .empty($0.shape, dtype: $0.dtype, device: device)) }
      for work in tensors.map({ group.startBroadcast($0.tensor, from: 0) }) { work.wait() }
      if device.kind == .cuda { Runtime.synchronize(device) }
      return HandedOver(tensors)
    }
    return received.value
  }

  /// Sends tensors as `receive` takes them.
  public func send(_ weights: sending [NamedTensor], flattened: Bool) async throws {
    let (weights, device) = (HandedOver(weights), place.device)
    _ = try await onGroup { group in
      let tensors = weights.value.map { $0.tensor.detached().contiguous() }
      if flattened {
        let flat = Tensor.empty([tensors.reduce(0) { $0 + $1.byteCount }], dtype: .uint8)
        flat.withMutableBytes { memory in
          var start = 0
          for tensor in tensors {
            tensor.withBytes { UnsafeMutableRawBufferPointer(rebasing: memory[start..<start + $0.count]).copyMemory(from: $0) }
            start += tensor.byteCount
          }
        }
        group.broadcast(flat.to(device: device), from: 0)
      } else {
        for work in tensors.map({ group.startBroadcast($0.to(device: device), from: 0) }) { work.wait() }
      }
      if device.kind == .cuda { Runtime.synchronize(device) }
    }
  }

  /// A group that failed once is of no use: its ranks may have stopped at different places.
  private func onGroup<R: Sendable>(_ body: @escaping @Sendable (ProcessGroup) throws -> R) async throws -> R {
    try await thread.run { [name = place.name] members in
      if let failure = members.failure {
        throw WeightSyncError("The weight group '\(name)' failed before (\(failure)); destroy it and make another.")
      }
      guard let group = members.group else { throw WeightSyncError("The weight group '\(name)' has not met yet.") }
      do {
        return try withoutGradients { try catchingTorchErrors { try body(group) } }
      } catch {
        members.failure = error
        throw error
      }
    }
  }
}

/// A value that one thread leaves for another and does not touch again.
struct HandedOver<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

/// The address of the interface that leads to a host, for peers to connect to; the loopback where there is no way.
func localAddress(toward host: String) -> String {
  var hints = addrinfo()
  hints.ai_family = AF_INET
  hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
  var results: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(host, "9", &hints, &results) == 0, let result = results else { return "127.0.0.1" }
  defer { freeaddrinfo(results) }
  let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
  guard descriptor >= 0 else { return "127.0.0.1" }
  defer { close(descriptor) }
  // Nothing is sent: connecting a datagram socket only chooses the way.
  var own = sockaddr_in()
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let isKnown = connect(descriptor, result.pointee.ai_addr, result.pointee.ai_addrlen) == 0
    && withUnsafeMutablePointer(to: &own) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
    } == 0
  guard isKnown else { return "127.0.0.1" }
  var text = [CChar](repeating: 0, count: Int(INET_ADDRSTRLEN))
  inet_ntop(AF_INET, &own.sin_addr, &text, socklen_t(INET_ADDRSTRLEN))
  return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
