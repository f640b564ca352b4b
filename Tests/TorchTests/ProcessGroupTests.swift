import Foundation
import TestSupport
import Testing
import Torch

/// Every collective against the same computed from all ranks' inputs at once.
@Suite struct ProcessGroupTests {
  static let computed: [DType] = [.float32, .bfloat16, .int64]
  static let moved: [DType] = [.float32, .float16, .bfloat16, .float8e4m3, .float8e5m2, .int64, .int16, .uint8, .bool]

  /// What `rank` brings: small whole numbers, exact in every type.
  private static func input(_ rank: Int, _ shape: [Int], _ dtype: DType) -> Tensor {
    Tensor.randint(0..<(dtype == .bool ? 2 : 4), shape, generator: Generator(seed: UInt64(rank + 1))).to(dtype: dtype)
  }

  private static func inputs(_ count: Int, _ shape: [Int], _ dtype: DType) -> [Tensor] {
    (0..<count).map { input($0, shape, dtype) }
  }

  private static func reduced(_ inputs: [Tensor], _ reduction: Reduction) -> Tensor {
    let all = Tensor.stack(inputs.map { $0.to(dtype: .float64) })
    let result: Tensor =
      switch reduction {
      case .sum: all.sum([0])
      case .average: all.mean([0])
      case .product: inputs.dropFirst().reduce(inputs[0].to(dtype: .float64)) { $0 * $1.to(dtype: .float64) }
      case .minimum: all.amin([0])
      case .maximum: all.amax([0])
      }
    return result.to(dtype: inputs[0].dtype)
  }

  private static func cases(_ dtype: DType) -> [Reduction] {
    [.sum, .product, .minimum, .maximum] + (dtype.isFloatingPoint ? [.average] : [])
  }

  @Test(arguments: 1...4, computed)
  func allReduce(count: Int, dtype: DType) async throws {
    _ = try await runGroup(count) { group in
      for reduction in Self.cases(dtype) {
        let tensor = Self.input(group.rank, [3, 5], dtype)
        group.allReduce(tensor, reduction)
        #expect(tensor.equal(Self.reduced(Self.inputs(count, [3, 5], dtype), reduction)), "\(reduction)")
      }
    }
  }

  @Test(arguments: 1...4, computed)
  func reduceScatter(count: Int, dtype: DType) async throws {
    _ = try await runGroup(count) { group in
      for reduction in Self.cases(dtype) {
        let output = Tensor.empty([2, 3], dtype: dtype)
        group.reduceScatter(Self.input(group.rank, [2 * count, 3], dtype), into: output, reduction)
        let whole = Self.reduced(Self.inputs(count, [2 * count, 3], dtype), reduction)
        #expect(output.equal(whole[2 * group.rank..<2 * group.rank + 2]), "\(reduction)")
      }
    }
  }

  @Test(arguments: 1...4, moved)
  func allGatherAndBroadcast(count: Int, dtype: DType) async throws {
    _ = try await runGroup(count) { group in
      let output = Tensor.zeros([2 * count, 3], dtype: dtype)
      group.allGather(Self.input(group.rank, [2, 3], dtype), into: output)
      let inputs = Self.inputs(count, [2, 3], dtype)
      #expect(output.array(Float.self) == inputs.flatMap { $0.array(Float.self) })
      for root in 0..<count {
        let tensor = Self.input(group.rank, [2, 3], dtype)
        group.broadcast(tensor, from: root)
        #expect(tensor.array(Float.self) == inputs[root].array(Float.self))
      }
    }
  }

  /// Rank s sends (s + 2 d) mod 3 rows to rank d; some send nothing.
  @Test(arguments: 1...4, moved)
  func allToAll(count: Int, dtype: DType) async throws {
    @Sendable func rows(_ source: Int, _ destination: Int) -> Int { (source + 2 * destination) % 3 }
    _ = try await runGroup(count) { group in
      let me = group.rank
      func sent(by source: Int) -> Tensor {
        Self.input(source, [(0..<count).reduce(0) { $0 + rows(source, $1) }, 2], dtype)
      }
      let inputSplits = (0..<count).map { rows(me, $0) }
      let outputSplits = (0..<count).map { rows($0, me) }
      let output = Tensor.zeros([outputSplits.reduce(0, +), 2], dtype: dtype)
      group.allToAll(sent(by: me), into: output, inputSplits: inputSplits, outputSplits: outputSplits)
      let expected = (0..<count).flatMap { source -> [Float] in
        let start = (0..<me).reduce(0) { $0 + rows(source, $1) }
        return sent(by: source)[start..<start + rows(source, me)].array(Float.self)
      }
      #expect(output.array(Float.self) == expected)

      let even = Tensor.zeros([count, 2], dtype: dtype)
      group.allToAll(Self.input(me, [count, 2], dtype), into: even)
      #expect(even.array(Float.self) == Self.inputs(count, [count, 2], dtype).flatMap { $0[me].array(Float.self) })
    }
  }

  @Test(arguments: 2...4, moved)
  func sendAndReceiveAroundARing(count: Int, dtype: DType) async throws {
    _ = try await runGroup(count) { group in
      let received = Tensor.zeros([4], dtype: dtype)
      let previous = (group.rank + count - 1) % count
      let sending = group.startSend(Self.input(group.rank, [4], dtype), to: (group.rank + 1) % count, tag: 3)
      group.receive(received, from: previous, tag: 3)
      sending.wait()
      #expect(received.array(Float.self) == Self.input(previous, [4], dtype).array(Float.self))
    }
  }

  @Test func severalCollectivesUnderWay() async throws {
    _ = try await runGroup(3) { group in
      let tensors = (0..<8).map { Tensor.full([1000], $0 + group.rank) }
      let works = tensors.map { group.startAllReduce($0) }
      let average = Tensor.full([2], group.rank)
      let averaging = group.startAllReduce(average, .average)
      for work in works.reversed() { work.wait() }
      averaging.wait()
      averaging.wait()
      #expect(works.allSatisfy { $0.isCompleted })
      let sums = tensors.map { $0[0].intItem() }
      #expect(sums == [3, 6, 9, 12, 15, 18, 21, 24])
      #expect(average.array(Float.self) == [1, 1])
      group.barrier()
    }
  }

  /// A tensor that only the collective holds stays alive until it is done.
  @Test func worksKeepTheirTensors() async throws {
    let census = Census()
    _ = try await runGroup(2) { group in
      let output = Tensor.zeros([4])
      let work = group.startAllGather(census.tensor([Float(group.rank), 7]), into: output)
      work.wait()
      #expect(output.array(Float.self) == [0, 7, 1, 7])
    }
    #expect(census.count == 0)
  }

  @Test func severalGroupsOfTheSameRanks() async throws {
    let results = try await runRanks(4) { rank, store in
      let world = try ProcessGroup.gloo("world", store: store, rank: rank, size: 4)
      let pair = try ProcessGroup.gloo("pair\(rank / 2)", store: store, rank: rank % 2, size: 2)
      let (inWorld, inPair) = (Tensor.full([1], rank), Tensor.full([1], rank))
      world.allReduce(inWorld)
      pair.allReduce(inPair)
      return [inWorld.item(), inPair.item()]
    }
    #expect(results == [[6, 1], [6, 1], [6, 5], [6, 5]])
  }

  @Test func aGroupOfOneNeedsNothing() throws {
    let group = ProcessGroup.single()
    let tensor = Tensor([1, 2] as [Float])
    for reduction in [Reduction.sum, .average, .product] { group.allReduce(tensor, reduction) }
    group.broadcast(tensor, from: 0)
    group.barrier()
    #expect(tensor.array(Float.self) == [1, 2] && group.startAllReduce(tensor).isCompleted)
    let store = try Store.inProcess()
    #expect(try ProcessGroup.gloo("one", store: store, rank: 0, size: 1).size == 1)
  }

  // MARK: Failures

  @Test func aMissingRankIsNamedWithinTheDeadline() async throws {
    let errors = try await runRanks(3) { rank, store -> String? in
      let group = try ProcessGroup.gloo("data", store: store, rank: rank, size: 3, timeout: .seconds(1))
      let tensor = Tensor.ones([2])
      group.allReduce(tensor)
      if rank == 1 {
        Thread.sleep(forTimeInterval: 2.5)
        return nil
      }
      let start = ContinuousClock.now
      let error = message { try catchingTorchErrors { group.allReduce(tensor) } }
      #expect(ContinuousClock.now - start < .seconds(5))
      return error
    }
    for rank in [0, 2] {
      #expect(errors[rank]?.hasPrefix("all_reduce in group 'data' on rank \(rank) of 3 failed (deadline 1.0 seconds):") == true)
    }
  }

  @Test(arguments: ["all_gather", "reduce_scatter", "all_to_all", "broadcast", "receive", "barrier"])
  func everyCollectiveHasADeadline(operation: String) async throws {
    let errors = try await runRanks(2) { rank, store -> String? in
      let group = try ProcessGroup.gloo("g", store: store, rank: rank, size: 2, timeout: .milliseconds(400))
      guard rank == 1 else {
        Thread.sleep(forTimeInterval: 1.5)
        return nil
      }
      let (whole, half) = (Tensor.ones([2]), Tensor.ones([1]))
      return message {
        try catchingTorchErrors {
          switch operation {
          case "all_gather": group.allGather(half, into: whole)
          case "reduce_scatter": group.reduceScatter(whole, into: half)
          case "all_to_all": group.allToAll(whole, into: whole.clone())
          case "broadcast": group.broadcast(whole, from: 0)
          case "receive": group.receive(whole, from: 0)
          default: group.barrier()
          }
        }
      }
    }
    #expect(errors[1]?.hasPrefix("\(operation) in group 'g' on rank 1 of 2 failed") == true, "\(errors)")
  }

  @Test func joiningHasADeadline() throws {
    let store = try Store.inProcess()
    let start = ContinuousClock.now
    let error = message { _ = try ProcessGroup.gloo("late", store: store, rank: 1, size: 2, timeout: .seconds(1)) }
    #expect(error?.hasPrefix("rank 1 of 2 could not join group 'late' within 1.0 seconds") == true)
    #expect(ContinuousClock.now - start < .seconds(5))
    #expect(message { _ = try ProcessGroup.gloo("g", store: store, rank: 2, size: 2) }?.contains("from 0 to 1") == true)
  }

  @Test func wrongTensorsAreNamed() async throws {
    let errors = try await runGroup(2, timeout: .seconds(2)) { group in
      [
        message { try catchingTorchErrors { group.allReduce(Tensor.ones([2, 3]).t()) } },
        message { try catchingTorchErrors { group.allGather(Tensor.ones([2]), into: Tensor.ones([3])) } },
        message { try catchingTorchErrors { group.allReduce(failedTensor()) } },
        message { try catchingTorchErrors { group.broadcast(Tensor.ones([2]), from: 5) } },
      ]
    }
    for (rank, errors) in errors.enumerated() {
      let place = "in group 'test' on rank \(rank) of 2 failed"
      #expect(errors[0]?.contains(place) == true && errors[0]?.contains("not contiguous") == true)
      #expect(errors[1]?.hasPrefix("all_gather \(place)") == true)
      #expect(errors[2] == "all_reduce \(place): the result of a failed operation was used")
      #expect(errors[3]?.hasPrefix("broadcast \(place)") == true)
    }
  }

  @Test func ncclNeedsItsLibrary() throws {
    let store = try Store.inProcess()
    #expect(
      message { _ = try ProcessGroup.nccl("g", store: store, rank: 0, size: 2, device: .cuda(0)) }?
        .contains("libCTorchCUDA.so") == true)
  }
}
