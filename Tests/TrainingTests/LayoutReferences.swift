/// What one rank learns of each model, computed once for all layouts that are compared with it.
actor LayoutReferences {
  private let compute: @Sendable (_ name: String, _ layout: Layout) async throws -> LayoutOutcome
  private var known: [String: Task<LayoutOutcome, any Error>] = [:]

  init(_ compute: @escaping @Sendable (_ name: String, _ layout: Layout) async throws -> LayoutOutcome) { self.compute = compute }

  func outcome(_ name: String, isFSDP: Bool) async throws -> LayoutOutcome {
    let key = "\(name) \(isFSDP)"
    let task = known[key] ?? Task { [compute] in try await compute(name, Layout(isFSDP: isFSDP)) }
    known[key] = task
    return try await task.value
  }
}
