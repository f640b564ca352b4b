/// Settings of a schedule that contradict each other, in one sentence.
public struct ScheduleError: Error, Equatable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}
