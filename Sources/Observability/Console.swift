import Foundation
import Synchronization

/// Lines to standard output and standard error, each written whole, around one status line that stays at the bottom.
public final class Console: Sendable {
  public enum Stream: Sendable { case output, errors }

  public static let standard = Console()

  private let outputDescriptor: Int32
  private let errorDescriptor: Int32
  private let fixedTerminal: Terminal?
  private let status = Mutex<String?>(nil)

  /// - Parameter terminal: what the error stream is taken for; by default what it is.
  public init(output: Int32 = STDOUT_FILENO, errors: Int32 = STDERR_FILENO, terminal: Terminal? = nil) {
    (outputDescriptor, errorDescriptor, fixedTerminal) = (output, errors, terminal)
  }

  /// Looked at anew each time: a terminal's width changes.
  public var terminal: Terminal { fixedTerminal ?? Terminal(descriptor: errorDescriptor) }

  public func print(_ line: String, to stream: Stream = .output) {
    status.withLock { status in
      if status != nil { write(Self.erase, to: .errors) }
      write(line + "\n", to: stream)
      if let status { write(status, to: .errors) }
    }
  }

  /// Shows `line` below everything printed, in place of the last one; nil removes it. Only for interactive terminals.
  public func setStatus(_ line: String?) {
    status.withLock { status in
      let erase = status == nil ? "" : Self.erase
      write(erase + (line ?? ""), to: .errors)
      status = line
    }
  }

  private static let erase = "\r\u{1B}[2K"

  private func write(_ text: String, to stream: Stream) {
    let descriptor = stream == .output ? outputDescriptor : errorDescriptor
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}
