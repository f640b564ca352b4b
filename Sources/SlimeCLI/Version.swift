import Torch

/// slime's own version.
let version = "0.1.0"

/// One line for each part that is linked.
var versions: String {
  """
  slime \(version)
  libtorch \(Runtime.version) (\(Runtime.libraryFolder.path))
  Swift \(swiftVersion)
  """
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
