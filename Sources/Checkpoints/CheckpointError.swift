import Foundation

/// What is wrong with a checkpoint, in one sentence that names the file and, where there is one, the tensor.
public struct CheckpointError: Error, Equatable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }

  init(_ file: URL, _ problem: String) { description = "\(file.path): \(problem)" }

  /// A failed system call, with the system's reason. Reads `errno`, so it must be made before any other call.
  init(_ file: URL, failedTo action: String) {
    let reason = String(cString: strerror(errno))
    description = "\(file.path): cannot \(action): \(reason)"
  }
}
