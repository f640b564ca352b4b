extension Tensor {
  /// Gradient checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): runs `body` without
  /// keeping its intermediate results and runs it again in the backward.
  ///
  /// `body` must be the same function both times: no state, no random numbers. `parameters` are the tensors besides
  /// `input` that it differentiates; their gradients are accumulated as usual.
  public static func checkpoint(
    _ name: String, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor
  ) -> Tensor {
    guard gradientsEnabled else { return body(input) }
    let saved = input.detached()
    return function(
      name, inputs: [input] + parameters, forward: { [body(saved)] },
      backward: { gradients in
        guard let gradient = gradients[0] else { return Array(repeating: nil, count: 1 + parameters.count) }
        return withGradients(true) {
          let again = saved.detached()
          again.requiresGrad = true
          let output = body(again)
          return Tensor.gradients(
            of: [output], by: [again] + parameters, gradients: [gradient], allowUnused: true)
        }
      })[0]
  }
}
