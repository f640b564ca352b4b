import CTorch
import Foundation

/// The libtorch of this process.
public enum Runtime {
  public static var version: String { String(cString: ct_version()) }

  /// Threads one operator may use.
  public static var threadCount: Int {
    get { Int(ct_num_threads()) }
    set { ct_set_num_threads(Int32(newValue)) }
  }

  /// Opens libtorch_cuda for the whole process, before the first CUDA tensor, and our own GPU library where it lies
  /// beside the executable or beside libtorch.
  ///
  /// libtorch_cuda is looked for beside the libtorch_cpu that is linked, then by the loader's own rules.
  /// - Throws: `TorchError` when there is no CUDA library or no GPU.
  public static func openCUDA() throws {
    if !ct_has_cuda() {
      let beside = libraryFolder.appendingPathComponent("libtorch_cuda.so").path
      let name = FileManager.default.fileExists(atPath: beside) ? beside : "libtorch_cuda.so"
      let (isOpen, error) = isolatingTorchError { ct_load_library(name) }
      guard isOpen else {
        throw TorchError("--device cuda needs libtorch_cuda.so: \(error?.description ?? "it could not be opened")")
      }
      guard isolatingTorchError(ct_has_cuda).0 else {
        throw TorchError("--device cuda was asked for, but this machine has no usable NVIDIA GPU; use --device cpu")
      }
    }
    let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    try CUDALibrary.open(in: [executable.deletingLastPathComponent(), libraryFolder])
  }

  /// Whether `openCUDA()` found our own GPU library (NCCL groups, streams, memory figures).
  public static var hasCUDALibrary: Bool { ct_cuda() != nil }

  /// Makes `device` the one that the process works on, after opening CUDA where it is a GPU.
  /// - Parameter user: who needs it, for the message.
  /// - Throws: `TorchError` when this machine has no such GPU.
  public static func open(_ device: Device, for user: String) throws {
    guard device.kind == .cuda else { return }
    try openCUDA()
    guard device.index < cudaDeviceCount else {
      throw TorchError(
        "\(user) needs GPU \(device.index), and this machine has \(cudaDeviceCount) (counted from 0); use fewer devices, or let trainer and engines share them with --colocate")
    }
    setCurrent(device)
  }

  public static var cudaDeviceCount: Int { Int(ct_cuda_device_count()) }

  /// The version of the CUDA runtime that `openCUDA()` opened, as `13.0`.
  public static var cudaVersion: String? {
    guard let symbol = dlsym(nil, "cudaRuntimeGetVersion") else { return nil }
    var number: Int32 = 0
    let status = unsafeBitCast(symbol, to: (@convention(c) (UnsafeMutablePointer<Int32>) -> Int32).self)(&number)
    return status == 0 ? "\(number / 1000).\(number % 1000 / 10)" : nil
  }

  /// Waits until everything queued on the device is done.
  public static func synchronize(_ device: Device) {
    guard device.kind == .cuda else { return }
    ct_cuda_synchronize(Int32(device.index))
    checkTorchError()
  }

  /// Makes `device` the calling thread's current CUDA device.
  public static func setCurrent(_ device: Device) {
    guard device.kind == .cuda else { return }
    ct_cuda_set_device(Int32(device.index))
    checkTorchError()
  }

  /// Operators without a deterministic implementation fail instead of running.
  public static func setDeterministic(_ on: Bool) { ct_set_deterministic(on) }

  /// Lets matrix products on a GPU choose the same kernels in every process, and NCCL's sums one order. Before CUDA is opened.
  /// - Throws: `TorchError` when the environment chooses an order that differs from run to run.
  public static func prepareDeterministicCUDA() throws {
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0)
    // Megatron-LM's list.
    let repeatable = ["Ring", "Tree", "CollnetDirect", "CollnetChain", "^NVLS"]
    if let chosen = ProcessInfo.processInfo.environment["NCCL_ALGO"], !repeatable.contains(chosen) {
      throw TorchError(
        "NCCL_ALGO=\(chosen) may sum in another order in each run; leave it out or set one of \(repeatable.joined(separator: ", "))")
    }
    setenv("NCCL_ALGO", repeatable[0], 0)
  }

  /// The folder of the linked libtorch.
  public static var libraryFolder: URL {
    URL(fileURLWithPath: ct_library_path().map { String(cString: $0) } ?? "").deletingLastPathComponent()
  }
}
