/// A process of the run: the driver, or one worker by its role and rank within the role.
public struct ProcessName: Hashable, Codable, Sendable, CustomStringConvertible {
  public var role: String
  public var rank: Int

  public init(_ role: String, _ rank: Int = 0) { (self.role, self.rank) = (role, rank) }

  public static let driver = ProcessName("driver")

  /// `trainer rank 1`, or `driver`.
  public var description: String { self == .driver ? role : "\(role) rank \(rank)" }
}

/// Where a distributed actor lives: its process, and its name there.
public struct ActorAddress: Hashable, Codable, Sendable, CustomStringConvertible {
  public var process: ProcessName
  public var name: String

  public init(process: ProcessName, name: String) { (self.process, self.name) = (process, name) }

  public var description: String { "\(name) on \(process)" }
}
