/// What an update of weights came to.
public struct WeightUpdateReport: Sendable {
  /// Engines that it did not reach: they keep the weights that they had, whole. The others have the new ones.
  public var failures: [EngineFailure] = []
  /// Bytes of weights that were sent, once however many engines took them; nil where they went through files.
  public var bytes: Int?
  /// Seconds in which weights were read and put into buckets, in which buckets were sent and taken, and all together: less
  /// than their sum, since both are done at a time.
  public var gatherTime = 0.0
  public var sendTime = 0.0
  public var totalTime = 0.0

  public init() {}
}

/// An engine that an update did not reach.
public struct EngineFailure: Error, CustomStringConvertible {
  /// Its place among the update's engines.
  public var index: Int
  public var engine: String
  public var operation: String
  public var cause: any Error

  public var description: String { "\(engine) failed at \(operation): \(cause)" }
}

/// The engines of one update. Those that fail are left behind, and the others go on.
struct Fleet<Target: Sendable>: Sendable {
  private let targets: [Target]
  private let name: @Sendable (Target) -> String
  private(set) var live: [Int]
  private(set) var failures: [EngineFailure] = []

  init(_ targets: [Target], name: @escaping @Sendable (Target) -> String) {
    (self.targets, self.name, live) = (targets, name, Array(targets.indices))
  }

  var liveTargets: [Target] { live.map { targets[$0] } }
  func liveTarget(_ index: Int) -> Target { targets[index] }

  /// Runs `body` for each engine that is left, all at a time or one after another.
  /// - Throws: when none is left: the error of the only engine, or a sentence with those of all.
  mutating func forEach(
    _ operation: String, rolling: Bool = false, _ body: @escaping @Sendable (Target) async throws -> Void
  ) async throws {
    var errors: [(index: Int, error: any Error)] = []
    if rolling {
      for index in live {
        do { try await body(targets[index]) } catch { errors.append((index, error)) }
      }
    } else {
      errors = await withTaskGroup(of: (Int, any Error)?.self) { [live, targets] group in
        for index in live {
          group.addTask {
            do { try await body(targets[index]) } catch { return (index, error) }
            return nil
          }
        }
        return await group.reduce(into: []) { if let failure = $1 { $0.append(failure) } }
      }
    }
    try Task.checkCancellation()
    for (index, error) in errors.sorted(by: { $0.index < $1.index }) { drop(index, operation, error) }
    try requireOne()
  }

  mutating func drop(_ index: Int, _ operation: String, _ error: any Error) {
    live.removeAll { $0 == index }
    failures.append(EngineFailure(index: index, engine: name(targets[index]), operation: operation, cause: error))
  }

  func requireOne() throws {
    guard live.isEmpty, let first = failures.first else { return }
    guard failures.count > 1 else { throw first.cause }
    throw WeightSyncError("The weights reached no engine: " + failures.map(\.description).joined(separator: "; "))
  }
}

extension ContinuousClock {
  /// Adds the seconds that `body` takes to `total`.
  static func measure<R>(
    into total: inout Double, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
  ) async rethrows -> R {
    let start = now
    defer { total += (now - start) / .seconds(1) }
    return try await body()
  }
}
