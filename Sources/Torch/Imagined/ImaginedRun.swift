import CTorch

/// A run on the meta device, counted: what tensors would take of memory, what is computed, and what this rank would
/// send. It belongs to one thread.
public final class ImaginedRun: @unchecked Sendable {
  /// Where it is imagined to run: kernels keep different things on different devices.
  public let device: Device.Kind
  /// Bytes sent to other ranks, by the kind of group: the first word of its name.
  public private(set) var sentBytes: [String: Double] = [:]
  private let handle: ct_account

  public init(on device: Device.Kind) {
    self.device = device
    handle = ct_account_new()!
  }

  deinit { ct_account_release(handle) }

  @TaskLocal package static var current: ImaginedRun?

  /// Counts what `body` does on the meta device, and gives imagined process groups collectives that do nothing.
  public func callAsFunction<R>(_ body: () throws -> R) rethrows -> R {
    try Self.$current.withValue(self) {
      ct_account_enter(handle)
      defer { ct_account_enter(nil) }
      return try body()
    }
  }

  /// Bytes of the tensors that live, and the most that lived at a time.
  public var heldBytes: Int { Int(ct_account_held(handle)) }
  public var peakBytes: Int { Int(ct_account_peak(handle)) }
  /// Bytes of all tensors that were made.
  public var madeBytes: Int { Int(ct_account_allocated(handle)) }
  /// The same of host memory, for what really runs on the CPU; less than nothing where earlier tensors went.
  public var hostBytes: Int { Int(ct_account_host_held(handle)) }
  public var hostPeakBytes: Int { Int(ct_account_host_peak(handle)) }
  /// Floating-point operations of matrix products and attention; a product and its addition are two.
  public var operations: Double { ct_account_operations(handle) }

  /// Begins to look for a peak anew.
  public func forgetPeak() { ct_account_reset_peak(handle) }

  func note(_ bytes: Double, to group: ProcessGroup) {
    sentBytes[String(group.name.prefix { $0 != " " }), default: 0] += bytes
  }
}
