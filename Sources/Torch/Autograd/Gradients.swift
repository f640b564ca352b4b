import CTorch

/// Runs `body` without recording gradients on this thread.
public func withoutGradients<R>(_ body: () throws -> R) rethrows -> R { try withGradients(false, body) }

/// Runs `body` with recording on or off on this thread.
public func withGradients<R>(_ enabled: Bool, _ body: () throws -> R) rethrows -> R {
  let before = ct_grad_enabled()
  ct_set_grad_enabled(enabled)
  defer { ct_set_grad_enabled(before) }
  return try body()
}

public var gradientsEnabled: Bool { ct_grad_enabled() }

extension Tensor {
  public var requiresGrad: Bool {
    get { withExtendedLifetime(self) { checked(ct_requires_grad(handle)) } }
    set { withExtendedLifetime(self) { ct_set_requires_grad(handle, newValue) }; checkTorchError() }
  }

  public var isLeaf: Bool { withExtendedLifetime(self) { checked(ct_is_leaf(handle)) } }

  /// The accumulated gradient of a leaf.
  public var grad: Tensor? {
    get { withExtendedLifetime(self) { checked(ct_grad(handle)).map { Tensor(owned: $0) } } }
    set { withExtendedLifetime((self, newValue)) { ct_set_grad(handle, newValue?.handle) }; checkTorchError() }
  }

  /// The same memory, outside the graph.
  public func detached() -> Tensor { withExtendedLifetime(self) { Tensor(owned: ct_detach(handle)) } }

  /// The same memory with a version counter of its own: autograd does not notice writes through it.
  package func uncounted() -> Tensor { withExtendedLifetime(self) { Tensor(owned: ct_variable_data(handle)) } }

  /// Lets this tensor stand for other memory of the same type, as PyTorch's `.data = `.
  package func setData(_ data: Tensor) {
    withExtendedLifetime((self, data)) { ct_set_data(handle, data.handle) }
    checkTorchError()
  }

  /// Accumulates d(self)/d(leaf) into the leaves (into `inputs` alone where given).
  public func backward(
    gradient: Tensor? = nil, retainGraph: Bool = false, createGraph: Bool = false, inputs: [Tensor] = []
  ) {
    Tensor.backward([self], gradients: gradient.map { [$0] } ?? [], retainGraph: retainGraph, createGraph: createGraph,
      inputs: inputs)
  }

  public static func backward(
    _ outputs: [Tensor], gradients: [Tensor?] = [], retainGraph: Bool = false, createGraph: Bool = false,
    inputs: [Tensor] = []
  ) {
    withHandles(outputs) { outputs in
      withOptionalHandles(gradients) { gradients in
        withHandles(inputs) { ct_backward(outputs, gradients, retainGraph || createGraph, createGraph, $0) }
      }
    }
    checkTorchError()
  }

  /// The gradients of `outputs` by `inputs`, without touching `.grad`; nil where `allowUnused` and unused.
  public static func gradients(
    of outputs: [Tensor], by inputs: [Tensor], gradients: [Tensor?] = [], retainGraph: Bool = false,
    createGraph: Bool = false, allowUnused: Bool = false
  ) -> [Tensor?] {
    let array = withHandles(outputs) { outputs in
      withHandles(inputs) { inputs in
        withOptionalHandles(gradients) { gradients in
          ct_gradients(outputs, inputs, gradients, retainGraph || createGraph, createGraph, allowUnused)
        }
      }
    }
    return optionalList(owned: array)
  }
}
