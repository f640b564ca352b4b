import Checkpoints
import Models
import Testing
import Torch

/// Expects the gradients of all learned weights to be those of a fixture, to 1e-4 relative.
func expectGradients(of model: CausalLM, _ reference: SafetensorsFile) throws {
  let all = Set(reference.tensors.map(\.name).filter { $0.hasPrefix("gradient.") })
  let norms = try all.map { try reference.tensor($0).vectorNorm().item() }
  // What does not depend on a weight (a bias of keys that are not rotated, say) leaves nothing but rounding.
  let rounding = 1e-4 * norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
  var seen = Set<String>()
  var assembly = StoredLayout(model).assembly()
  for parameter in model.table.parameters where parameter.isLearned {
    let gradient = try #require(parameter.tensor.grad, "\(parameter.name) has no gradient")
    for (name, part) in checkpointTensors(parameter, gradient).compactMap({ assembly.add($0.name, $0.tensor) }) {
      let wanted = try reference.tensor("gradient.\(name)")
      let norm = wanted.vectorNorm().item()
      let error = (part - wanted).vectorNorm().item() / max(norm, rounding)
      #expect(error < 1e-4, "gradient of \(name): relative error \(error)")
      seen.insert("gradient.\(name)")
    }
  }
  #expect(seen == all)
}
