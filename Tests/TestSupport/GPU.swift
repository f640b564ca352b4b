import Foundation
import Testing
import Torch

/// GPUs for tests: `./slime test --gpu` asks for them. Suites that need some are called `…OnGPUTests`.
public enum GPU {
  public static let isWanted = ProcessInfo.processInfo.environment["SLIME_TEST_GPU"] != nil

  /// How many there are; 0 where none are wanted.
  public static let count: Int = {
    guard isWanted, (try? Runtime.openCUDA()) != nil else { return 0 }
    return Runtime.cudaDeviceCount
  }()

  /// Makes the first GPU the calling thread's.
  /// - Throws: a sentence where there is none, or our GPU library is missing.
  public static func open(_ index: Int = 0) throws -> Device {
    try Runtime.open(.cuda(index), for: "this test")
    guard Runtime.hasCUDALibrary else {
      throw TorchError("tests on a GPU need libCTorchCUDA.so beside the test bundle; Scripts/build_cuda.sh makes it")
    }
    return .cuda(index)
  }
}

extension Trait where Self == ConditionTrait {
  /// Runs where GPUs are wanted; without one the test fails.
  public static var onGPU: Self { .enabled(if: GPU.isWanted, "needs a GPU: ./slime test --gpu") }
  /// Runs where there are two.
  public static var onTwoGPUs: Self { .enabled(if: GPU.count >= 2, "needs two GPUs: ./slime test --gpu") }
}
