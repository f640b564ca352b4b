import Foundation

/// An error that knows the exit code with which the process should end because of it: 2 for a mistake of the user.
///
/// The code survives the trip from a worker to the driver.
public protocol ExitCodeError: Error {
  var exitCode: Int32 { get }
}

/// An error as it travels: its sentence, and what the process should exit with.
public struct CallFailure: Error, Codable, Sendable {
  public var message: String
  public var exitCode: Int32

  public init(message: String, exitCode: Int32 = 1) { (self.message, self.exitCode) = (message, exitCode) }

  public init(_ error: any Error) {
    self.init(message: sentence(of: error), exitCode: (error as? any ExitCodeError)?.exitCode ?? 1)
  }
}

/// An error that a distributed method threw in another process.
public struct RemoteError: ExitCodeError, CustomStringConvertible, Sendable {
  /// The sentence of the error that was thrown there.
  public var message: String
  public var actor: String
  public var method: String
  /// The process, as in `trainer rank 1 (pid 4711)`.
  public var worker: String
  public var exitCode: Int32

  /// A mistake of the user is told as it is; for anything else it matters where it happened.
  public var description: String { exitCode == 2 ? message : "\(worker), \(method): \(message)" }
}

/// A call was not answered in time.
public struct DeadlineExceeded: Error, CustomStringConvertible, Sendable {
  public var worker: String
  public var method: String
  public var deadline: Duration

  public var description: String { "\(worker) did not answer \(method) within \(deadline.text)" }
}

/// A call that could not be made: nobody there, or nothing by that name.
public struct UnreachableActor: Error, CustomStringConvertible, Sendable {
  public var description: String
}

/// What a person should read of an error.
func sentence(of error: any Error) -> String {
  switch error {
  case let error as DecodingError:
    switch error {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context), .valueNotFound(_, let context):
      context.sentence
    @unknown default: "\(error)"
    }
  case EncodingError.invalidValue(_, let context): context.sentence
  case let error as any LocalizedError: error.errorDescription ?? "\(error)"
  default: "\(error)"
  }
}

extension DecodingError.Context {
  fileprivate var sentence: String { debugDescription + place(codingPath) }
}

extension EncodingError.Context {
  fileprivate var sentence: String { debugDescription + place(codingPath) }
}

private func place(_ path: [any CodingKey]) -> String {
  path.isEmpty ? "" : " (at \(path.prefix(8).map(\.stringValue).joined(separator: ".")))"
}

extension Duration {
  /// Seconds.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }

  /// `1.5 s`, or `20 ms`.
  var text: String {
    if seconds < 1 { return "\(Int((seconds * 1000).rounded())) ms" }
    return seconds == seconds.rounded() ? "\(Int(seconds)) s" : "\((seconds * 10).rounded() / 10) s"
  }
}
