import Foundation
import Inference
import Synchronization
import Torch

/// A group of a trainer's rank, which is rank 0 and sends, and of engines, which receive.
public struct WeightGroupPlace: Sendable, Equatable, Codable {
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
  private let isLeft = Flag()

  /// What lives on the thread.
  private final class Members {
    var store: Store?
    var group: ProcessGroup?
    var failure: (any Error)?
  }

  private final class Flag: Sendable {
    private let value = Atomic(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
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

  /// Ends what the group is at; later calls fail.
  public func leave() { isLeft.set() }

  /// Receives what rank 0 broadcasts: tensor by tensor in this order, or all as one row of bytes.
  /// - Parameter checksum: of all bytes, one tensor after another (`SliceBucket.checksum(of:)`); nil: they are not compared.
  public func receive(
    _ weights: [WeightDescription], flattened: Bool, checksum: String? = nil
  ) async throws -> sending [NamedTensor] {
    let device = place.device
    let received = try await onGroup { broadcast in
      if flattened {
        let flat = Tensor.empty([weights.reduce(0) { $0 + $1.byteCount }], dtype: .uint8, device: device)
        try broadcast([flat])
        return HandedOver([flat])
      }
      let tensors = weights.map { Tensor.empty($0.shape, dtype: $0.dtype, device: device) }
      try broadcast(tensors)
      return HandedOver(tensors)
    }
    // What was damaged is no reason to leave the group.
    let checked = try await thread.run { _ in
      try catchingTorchErrors {
        try withoutGradients {
          let tensors = received.value
          if let checksum { try Self.check(flattened ? tensors[0] : flattenedBytes(tensors, on: device), checksum) }
          return HandedOver(flattened ? Self.parts(of: tensors[0], weights) : zip(weights, tensors).map { NamedTensor($0.name, $1) })
        }
      }
    }
    return checked.value
  }

  private static func parts(of flat: Tensor, _ weights: [WeightDescription]) -> [NamedTensor] {
    var start = 0
    return weights.map { weight in
      let bytes = flat[start..<start + weight.byteCount]
      // A number begins at a multiple of its size.
      let own = start % weight.dtype.size == 0 ? bytes : bytes.clone()
      start += weight.byteCount
      return NamedTensor(weight.name, own.viewing(weight.dtype).view(weight.shape))
    }
  }

  private static func check(_ bytes: Tensor, _ expected: String) throws {
    let found = SliceBucket.checksum(of: bytes)
    guard found == expected.lowercased() else {
      throw WeightSyncError("The bucket has the checksum \(found), not \(expected): it was damaged on its way.")
    }
  }

  /// Sends tensors as `receive` takes them.
  public func send(_ weights: sending [NamedTensor], flattened: Bool) async throws {
    let (weights, device) = (HandedOver(weights.map(\.tensor)), place.device)
    _ = try await onGroup { broadcast in
      let tensors = weights.value.map { $0.detached().contiguous() }
      try broadcast(flattened ? [flattenedBytes(tensors, on: device)] : tensors.map { $0.to(device: device) })
    }
  }

  /// Sends a row of bytes.
  func send(_ bytes: HandedOver<Tensor>) async throws {
    _ = try await onGroup { [device = place.device] broadcast in try broadcast([bytes.value.to(device: device)]) }
  }

  /// Runs `body`, which is given what broadcasts tensors from rank 0. A group that failed once is of no use: its ranks may
  /// have stopped at different places.
  private func onGroup<R: Sendable>(_ body: @escaping @Sendable (_ broadcast: ([Tensor]) throws -> Void) throws -> R) async throws -> R {
    try await thread.run { [place, isLeft] members in
      if let failure = members.failure {
        throw WeightSyncError("The weight group '\(place.name)' failed before (\(failure)); destroy it and make another.")
      }
      guard let group = members.group else { throw WeightSyncError("The weight group '\(place.name)' has not met yet.") }
      do {
        return try withoutGradients {
          try catchingTorchErrors {
            try body { tensors in
              let works = tensors.map { group.startBroadcast($0, from: 0) }
              if place.device.kind == .cuda { try Self.watch(works, group, members.store, place, isLeft) }
              for work in works { work.wait() }
              if place.device.kind == .cuda { Runtime.synchronize(place.device) }
            }
          }
        }
      } catch {
        members.failure = error
        // Were it still at something, it would wait for ever.
        if place.device.kind == .cuda { group.abort() }
        throw error
      }
    }
  }

  /// Returns when works on a GPU are done. NCCL does not notice that another rank is gone; the store is gone with rank 0.
  private static func watch(
    _ works: [Work], _ group: ProcessGroup, _ store: Store?, _ place: WeightGroupPlace, _ isLeft: Flag
  ) throws {
    let deadline = ContinuousClock.now + group.timeout
    var look = ContinuousClock.now + .seconds(1)
    while try !works.allSatisfy({ try $0.isDone() }) {
      let now = ContinuousClock.now
      guard !isLeft.isSet else { throw WeightSyncError("The weight group '\(place.name)' was left during a broadcast.") }
      guard now < deadline else {
        throw WeightSyncError("A broadcast in the weight group '\(place.name)' was not done within \(group.timeout).")
      }
      if now > look {
        try store?.set("waiting/\(place.rank)", "")
        look = now + .seconds(1)
      }
      usleep(50)
    }
  }
}

/// Contiguous tensors' bytes one after another, as one row.
func flattenedBytes(_ tensors: [Tensor], on device: Device) -> Tensor {
  let flat = Tensor.empty([tensors.reduce(0) { $0 + $1.byteCount }], dtype: .uint8, device: device)
  var start = 0
  for tensor in tensors where tensor.count > 0 {
    flat[start..<start + tensor.byteCount].copy_(tensor.reshape([tensor.count]).viewing(.uint8))
    start += tensor.byteCount
  }
  return flat
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
