import CTorch

/// Where a tensor's memory lies.
public struct Device: Hashable, Sendable, Codable, CustomStringConvertible {
  /// The raw values are those of `c10::DeviceType`.
  public enum Kind: Int32, Sendable, Codable {
    case cpu = 0
    case cuda = 1
    /// Shapes without memory.
    case meta = 14
  }

  public var kind: Kind
  public var index: Int

  public static let cpu = Device(kind: .cpu, index: -1)
  public static let meta = Device(kind: .meta, index: -1)
  public static func cuda(_ index: Int = 0) -> Device { Device(kind: .cuda, index: index) }

  public var description: String { index < 0 ? "\(kind)" : "\(kind):\(index)" }
}
