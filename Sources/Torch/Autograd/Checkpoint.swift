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
    let needsInput = input.requiresGrad
    // What is frozen gets no gradient.
    let learned = parameters.indices.filter { parameters[$0].requiresGrad }
    return function(
      name, inputs: [input] + parameters, forward: { [body(saved)] },
      backward: { gradients in
        var results = [Tensor?](repeating: nil, count: 1 + parameters.count)
        guard let gradient = gradients[0] else { return results }
        withGradients(true) {
          let again = saved.detached()
          again.requiresGrad = needsInput
          let found = Tensor.gradients(
            of: [body(again)], by: (needsInput ? [again] : []) + learned.map { parameters[$0] }, gradients: [gradient],
            allowUnused: true)
          for (place, gradient) in zip((needsInput ? [0] : []) + learned.map { $0 + 1 }, found) {
            results[place] = gradient
          }
        }
        return results
      })[0]
  }
}
