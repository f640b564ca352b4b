import Foundation

/// What the terminal at a file descriptor can show.
public struct Terminal: Sendable {
  /// False for files, pipes and `TERM=dumb`: nothing there can be overwritten.
  public var isInteractive: Bool
  /// In columns.
  public var width: Int
  /// Whether the locale's encoding is UTF-8, so that blocks and braille patterns can be drawn.
  public var isUnicode: Bool

  public init(isInteractive: Bool, width: Int = 80, isUnicode: Bool = true) {
    (self.isInteractive, self.width, self.isUnicode) = (isInteractive, width, isUnicode)
  }

  public init(descriptor: Int32, environment: [String: String] = ProcessInfo.processInfo.environment) {
    isInteractive = isatty(descriptor) != 0 && environment["TERM"] != "dumb"
    width = Self.width(of: descriptor) ?? environment["COLUMNS"].flatMap { Int($0) } ?? 80
    isUnicode = Self.isUnicode(environment)
  }

  private static func width(of descriptor: Int32) -> Int? {
    var size = winsize()
    guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  /// The first of the three variables that is set and not empty decides, as in POSIX.
  static func isUnicode(_ environment: [String: String]) -> Bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
    return locale.uppercased().replacing("-", with: "").contains("UTF8")
  }
}
