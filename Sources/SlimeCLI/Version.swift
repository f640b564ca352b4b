import Foundation
import Torch

/// slime's own version.
let version = "0.1.0"

/// One line for each part that is linked.
var versions: String {
  [
    "slime \(version)", "libtorch \(Runtime.version) (\(Runtime.libraryFolder.path))", "Swift \(swiftVersion)", cudaVersion,
  ].compactMap { $0 }.joined(separator: "\n")
}

/// CUDA is opened, not linked; nil where there is no driver for it.
private var cudaVersion: String? {
  guard FileManager.default.fileExists(atPath: "/proc/driver/nvidia/version") else { return nil }
  do {
    try Runtime.openCUDA()
    return "CUDA \(Runtime.cudaVersion ?? "of an unknown version"), GPUs: \(Runtime.cudaDeviceCount)"
  } catch {
    return "CUDA cannot be opened: \(error)"
  }
}

/// The compiler's language version, and with it that of the standard library that is linked.
private var swiftVersion: String {
  #if compiler(>=6.4)
    "6.4 or newer"
  #elseif compiler(>=6.3)
    "6.3"
  #elseif compiler(>=6.2)
    "6.2"
  #else
    "6.1"
  #endif
}
