import Foundation
import Synchronization

/// SIGINT, SIGTERM and SIGHUP as calls on an ordinary thread.
public enum TerminationSignals {
  private static let handler = Mutex<(@Sendable (Int32) -> Void)?>(nil)

  /// Calls `body` with the number of each such signal, in place of an earlier one.
  public static func handle(_ body: @escaping @Sendable (Int32) -> Void) {
    let isFirst = handler.withLock { handler in
      defer { handler = body }
      return handler == nil
    }
    guard isFirst, let (source, target) = try? FileDescriptor.pipe() else { return }
    signalPipe.store(target.number, ordering: .releasing)
    startThread("signals") {
      // A signal handler may do next to nothing: it writes the number into a pipe, and the work is done here.
      withExtendedLifetime(target) {
        while true {
          var number: UInt8 = 0
          guard withUnsafeMutableBytes(of: &number, { source.read(into: $0) }) == 1 else { return }
          handler.withLock { $0 }?(Int32(number))
        }
      }
    }
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { number in
        let saved = errno
        defer { errno = saved }
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(signalPipe.load(ordering: .acquiring), &byte, 1)
      }
    }
  }
}

private let signalPipe = Atomic<Int32>(-1)
