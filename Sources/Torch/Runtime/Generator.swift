import CTorch

/// A source of random numbers with a state of its own; nothing here uses libtorch's global one.
public final class Generator {
  let handle: ct_generator

  public init(seed: UInt64, device: Device = .cpu) {
    guard let handle = ct_generator_new(device.kind.rawValue, Int32(device.index), seed) else {
      fatalError(takeTorchError()?.description ?? "no random generator for \(device)")
    }
    self.handle = handle
  }

  deinit { ct_generator_release(handle) }

  /// The whole state, as bytes on the CPU.
  public var state: Tensor {
    get { withExtendedLifetime(self) { Tensor(owned: ct_generator_state(handle)) } }
    set {
      withExtendedLifetime((self, newValue)) { ct_generator_set_state(handle, newValue.handle) }
      checkTorchError()
    }
  }
}
