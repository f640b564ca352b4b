import TestSupport
import Testing
import Torch

@Suite struct ProcessGroupTests {
  @Test(arguments: 1...4)
  func allReduceSums(count: Int) async throws {
    let sums = try await runGroup(count) { group in
      let tensor = Tensor([Float(group.rank), 1])
      group.allReduce(tensor)
      return tensor.array(Float.self)
    }
    #expect(sums == Array(repeating: [Float(count * (count - 1) / 2), Float(count)], count: count))
  }
}
