import CTorch
import Foundation

/// Our own GPU library, CTorchCUDA, which `Runtime.openCUDA()` opens.
enum CUDALibrary {
  static let fileName = "libCTorchCUDA.so"

  /// - Throws: `TorchError` when it has not been opened.
  static func opened() throws -> ct_cuda_functions {
    guard let functions = ct_cuda() else {
      throw TorchError(
        "NCCL groups, streams and memory figures need \(fileName) beside the executable; Scripts/build_cuda.sh makes it")
    }
    return functions.pointee
  }

  /// Opens the library where it lies in one of `folders`; without it the program runs, with less.
  static func open(in folders: [URL]) throws {
    if ct_cuda() != nil { return }
    for folder in folders {
      let path = folder.appendingPathComponent(fileName).path
      guard FileManager.default.fileExists(atPath: path) else { continue }
      let (isOpen, error) = isolatingTorchError { ct_open_cuda_library(path) }
      guard isOpen else { throw TorchError("\(path) could not be opened: \(error?.description ?? "no reason given")") }
      return
    }
  }

  /// What `body` makes of the functions; its error thrown.
  static func call<R>(_ body: (ct_cuda_functions) -> R) throws -> R {
    let functions = try opened()
    let (result, error) = isolatingTorchError { body(functions) }
    if let error { throw error }
    return result
  }
}
