/// Where the numbers of each step go: a file, the console, a dashboard.
public protocol MetricsSink: Sendable {
  /// - Parameter step: counts from 0, and on across resumes.
  func record(_ metrics: Metrics, step: Int) throws
}

/// Several sinks as one.
public struct MetricsSinks: MetricsSink {
  private let sinks: [any MetricsSink]

  public init(_ sinks: [any MetricsSink]) { self.sinks = sinks }

  public func record(_ metrics: Metrics, step: Int) throws {
    for sink in sinks { try sink.record(metrics, step: step) }
  }
}
