import CTorch

/// A source of random numbers with a state of its own; nothing here uses libtorch's global one.
public final class Generator {
  let handle: ct_generator

  public init(seed: UInt64, device: Device = .cpu) {
    if let handle = ct_generator_new(device.kind.rawValue, Int32(device.index), seed) {
      self.handle = handle
    } else {
      stopOutsideScope()
      // The scope fails in the end; until then there is something to draw from.
      handle = ct_generator_new(Device.Kind.cpu.rawValue, -1, seed)!
    }
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
