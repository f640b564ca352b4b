/// A GPU by its data sheet.
public struct Accelerator: Sendable, Equatable {
  public var name: String
  /// Bytes that a program finds on it.
  public var memory: Double
  /// Dense bf16 matrix products, operations a second.
  public var peak: Double
  /// Of its memory, bytes a second.
  public var bandwidth: Double
  /// To other GPUs of the machine, bytes a second in one direction.
  public var link: Double

  public init(name: String, memory: Double, peak: Double, bandwidth: Double, link: Double) {
    (self.name, self.memory, self.peak, self.bandwidth, self.link) = (name, memory, peak, bandwidth, link)
  }

  private static let gibibyte = Double(1 << 30)

  /// NVIDIA's data sheets; memory as the driver reports it.
  public static let known = [
    Accelerator(name: "a100", memory: 79.3 * gibibyte, peak: 312e12, bandwidth: 2.04e12, link: 300e9),
    Accelerator(name: "h100", memory: 79.6 * gibibyte, peak: 989e12, bandwidth: 3.35e12, link: 450e9),
    Accelerator(name: "h200", memory: 139.8 * gibibyte, peak: 989e12, bandwidth: 4.8e12, link: 450e9),
    Accelerator(name: "b200", memory: 178.4 * gibibyte, peak: 2250e12, bandwidth: 8e12, link: 900e9),
  ]

  /// CUDA's context, cuBLAS's and NCCL's buffers, and what the allocator cannot use between blocks: an assumption.
  public static let reserved = 2.5 * gibibyte
  public var usableMemory: Double { memory - Self.reserved }
}

/// How far apart GPUs are.
public struct Interconnect: Sendable, Equatable {
  /// GPUs of one machine: the ranks that follow each other.
  public var machineSize: Int
  /// Between machines, bytes a second of each GPU in one direction.
  public var network: Double

  public init(machineSize: Int, network: Double) { (self.machineSize, self.network) = (machineSize, network) }
}
