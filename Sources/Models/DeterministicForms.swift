extension ModelConfiguration {
  /// Deterministic mode has row-invariant forms of some operators only.
  /// - Throws: `ModelError` that names the first thing of the model that has none.
  func requireDeterminism() throws {
    let unknown: [(Bool, String)] = [
      (!windowedLayers.isEmpty, "sliding windows"), (attentionSoftCap != nil, "soft caps of attention scores"),
      (hasAttentionSinks, "attention sinks"), (logitSoftCap != nil, "soft caps of logits"),
      (vision != nil, "vision tower"),
      (!activation.hasRowInvariantForm, "GELU"), (queryKeyNorm == .acrossHeads, "norms across heads"),
      (linearAttention != nil, "gated delta rule"),
    ]
    guard let first = unknown.first(where: \.0) else { return }
    throw ModelError(
      "deterministic mode does not know the \(first.1) of a model of type \(modelType); leave out --deterministic-mode and "
        + "--enable-deterministic-inference")
  }
}
