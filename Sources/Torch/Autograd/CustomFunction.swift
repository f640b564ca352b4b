import CTorch
import Foundation

extension Tensor {
  /// An operation with a backward of the caller's.
  ///
  /// `forward` runs with gradients off and returns fresh tensors, or inputs unchanged. `backward` maps the gradients
  /// of the outputs to those of the inputs, in their order; nil is "no gradient" both ways. It may run on another
  /// thread. What it captures lives until the graph has been used: capture `detached()` outputs, since an output itself
  /// would keep the graph alive.
  public static func function(
    _ name: String, inputs: [Tensor], forward: () -> [Tensor],
    backward: @escaping (_ outputGradients: [Tensor?]) -> [Tensor?]
  ) -> [Tensor] {
    // An input that comes back as itself needs a history of its own.
    let outputs = withoutGradients(forward).map { output in
      inputs.contains { $0.handle == output.handle } ? output.detached() : output
    }
    withHandles(inputs) { inputs in
      withHandles(outputs) { ct_attach_backward(inputs, $0, name, ClosureBox.closure(backward)) }
    }
    checkTorchError()
    return outputs
  }

  /// The same for one input and one output.
  public static func function(
    _ name: String, input: Tensor, forward: () -> Tensor, backward: @escaping (_ outputGradient: Tensor) -> Tensor
  ) -> Tensor {
    function(name, inputs: [input], forward: { [forward()] }, backward: { gradients in [gradients[0].map(backward)] })[0]
  }

  /// Runs when the gradient by this tensor is known; the result, unless nil, replaces it.
  public func registerHook(_ hook: @escaping (_ gradient: Tensor) -> Tensor?) {
    let closure = ClosureBox.closure { gradients in [gradients[0].flatMap(hook)] }
    withExtendedLifetime(self) { ct_register_hook(handle, closure) }
    checkTorchError()
  }

  /// Runs after a gradient was added to this leaf's `.grad`, with the leaf.
  public func registerPostAccumulateHook(_ hook: @escaping (_ leaf: Tensor) -> Void) {
    let closure = ClosureBox.closure { tensors in
      if let leaf = tensors[0] { hook(leaf) }
      return []
    }
    withExtendedLifetime(self) { ct_register_post_accumulate_hook(handle, closure) }
    checkTorchError()
  }
}

/// A Swift closure that C++ owns.
private final class ClosureBox {
  let body: ([Tensor?]) -> [Tensor?]
  init(_ body: @escaping ([Tensor?]) -> [Tensor?]) { self.body = body }

  static func closure(_ body: @escaping ([Tensor?]) -> [Tensor?]) -> ct_closure {
    ct_closure(
      context: Unmanaged.passRetained(ClosureBox(body)).toOpaque(),
      call: { context, inputs, inputCount, results, resultCount in
        let box = Unmanaged<ClosureBox>.fromOpaque(context!).takeUnretainedValue()
        return box.call(UnsafeBufferPointer(start: inputs, count: inputCount),
          UnsafeMutableBufferPointer(start: results, count: resultCount))
      },
      release: { Unmanaged<ClosureBox>.fromOpaque($0!).release() })
  }

  /// nil, or the error's message for C++ to throw.
  func call(
    _ inputs: UnsafeBufferPointer<ct_tensor?>, _ results: UnsafeMutableBufferPointer<ct_tensor?>
  ) -> UnsafeMutablePointer<CChar>? {
    do {
      try catchingTorchErrors {
        let outputs = body(inputs.map { $0.map { Tensor(owned: ct_retain($0)) } })
        guard outputs.count == results.count else {
          throw TorchError("a backward gave \(outputs.count) gradients for \(results.count) inputs")
        }
        for (i, output) in outputs.enumerated() { results[i] = output.map { ct_retain($0.handle) } }
      }
      return nil
    } catch {
      return strdup("\(error)")
    }
  }
}
