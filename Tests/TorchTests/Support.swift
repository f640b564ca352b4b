import Foundation
import TestSupport
import Testing
import Torch

/// A fixture made by Scripts/make_torch_fixtures.py.
func torchFixture<T: Decodable>(_ name: String, as type: T.Type = T.self) throws -> T {
  try JSONDecoder().decode(T.self, from: Data(contentsOf: fixture("torch/\(name).json")))
}

/// Counts how many of the objects handed out are alive.
final class Census: @unchecked Sendable {
  private let lock = NSLock()
  private var living = 0

  var count: Int { lock.withLock { living } }

  final class Citizen {
    private let census: Census
    fileprivate init(_ census: Census) {
      self.census = census
      census.lock.withLock { census.living += 1 }
    }
    deinit { census.lock.withLock { census.living -= 1 } }
  }

  func citizen() -> Citizen { Citizen(self) }

  /// A tensor whose memory counts as one object.
  func tensor(_ values: [Float]) -> Tensor {
    let memory = UnsafeMutablePointer<Float>.allocate(capacity: values.count)
    memory.initialize(from: values, count: values.count)
    var citizen: Citizen? = citizen()
    return Tensor(borrowing: memory, shape: [values.count], dtype: .float32) {
      memory.deallocate()
      withExtendedLifetime(citizen) {}
      citizen = nil
    }
  }
}

/// The result of an operation that failed, in a scope that is over.
func failedTensor() -> Tensor {
  var result: Tensor?
  _ = try? catchingTorchErrors { result = Tensor.ones([2]).view([3]) }
  return result!
}

/// The message that `body` throws.
func message(_ body: () throws -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return "\(error)"
  }
}

/// Whether all elements are within `tolerance` of each other.
func isClose(_ a: Tensor, _ b: Tensor, _ tolerance: Double = 1e-6) -> Bool {
  a.shape == b.shape && a.allclose(b, rtol: tolerance, atol: tolerance)
}
