import TestSupport
import Testing
import Torch

/// Memory of a GPU that other processes see, and storages that move into it.
@Suite(.serialized, .onGPU) struct MemoryOnGPUTests {
  @Test func storagesMove() throws {
    let device = try GPU.open()
    let flat = Tensor.arange(1000, dtype: .float32, device: device)
    let part = flat[100..<200].view([10, 10])
    let memory = try SharedDeviceMemory.make(byteCount: 1 << 20, on: device)
    let bytes = try memory.bytes()
    flat.moveStorage(to: bytes[4096..<8192])
    #expect(part.address == bytes.address + 4096 + 400)
    part.mul_(2)
    #expect(bytes[4496..<4500].viewing(.float32).item() == 200)
    // Whoever opens it in the process that made it sees the same.
    let again = try SharedDeviceMemory.open(memory.handle, byteCount: memory.byteCount, on: device)
    #expect(try again.bytes().address == bytes.address)
    #expect(flat.array(Float.self) == (0..<1000).map { Float((100..<200).contains($0) ? 2 * $0 : $0) })
  }

  /// Addresses stay while memory goes and comes.
  @Test func regionsAreFilledAgain() throws {
    let device = try GPU.open()
    let region = try DeviceRegion(byteCount: 100 << 20, on: device)
    let numbers = try region.bytes()[0..<4096].viewing(.float32)
    let graph = try CUDAGraph(on: device) { _ = numbers.fill_(3) }
    let (address, free) = (numbers.address, try DeviceMemory.of(device).free)
    try region.empty()
    #expect(try DeviceMemory.of(device).free >= free + (100 << 20))
    try region.refill()
    #expect(numbers.address == address)
    try graph.replay()
    #expect(numbers.array(Float.self).allSatisfy { $0 == 3 })
  }

  /// What was in host memory for a time is as before, and its memory was free meanwhile; both ways at the rate of the bus,
  /// and back beside other work.
  @Test func refuges() throws {
    let device = try GPU.open()
    let state = (0..<4).map { Tensor.randn([64 << 20], generator: Generator(seed: UInt64($0), device: device), device: device) }
    let (view, sums) = (state[1][100..<200], state.map { $0.sum().item() })
    let gradients = Tensor.ones([64 << 20], device: device)
    let refuge = HostRefuge(state, forgetting: [gradients])
    try refuge.leave()
    try refuge.comeBack()
    Runtime.synchronize(device)
    try DeviceMemory.emptyCache()
    let free = try DeviceMemory.of(device).free
    let start = ContinuousClock.now
    try refuge.leave()
    let gone = ContinuousClock.now
    #expect(try DeviceMemory.of(device).free >= free + (5 << 28) * 9 / 10)
    try refuge.comeBack()
    let isOnItsWay = ContinuousClock.now
    // What is queued after `settle` waits for the copies, and nothing else does.
    try refuge.settle()
    try CUDAStream.current(device).synchronize()
    let back = ContinuousClock.now
    #expect(isOnItsWay - gone < (back - gone) / 2)
    #expect(state.map { $0.sum().item() } == sums && view.sharesStorage(with: state[1]))
    #expect(gradients.abs().max().item() == 0)
    let bytes = Double(4 << 28)
    print("to the host \(bytes / ((gone - start) / .seconds(1)) / 1e9) GB/s, back \(bytes / ((back - gone) / .seconds(1)) / 1e9)")
    #expect(bytes / ((back - start) / .seconds(1)) > 10e9)
    // Leaving at once keeps what has not come yet.
    try refuge.leave()
    try refuge.comeBack()
    try refuge.leave()
    try refuge.comeBack()
    try refuge.settle()
    #expect(state.map { $0.sum().item() } == sums && gradients.abs().max().item() == 0)
  }

  /// Random matrices as e4m3: the bits of operators on the CPU, on rows of any length and stride.
  @Test func quantizedAsOnTheCPU() throws {
    let device = try GPU.open()
    for seed in 0..<20 {
      var random = SplitMix64(seed: UInt64(seed))
      let (rows, columns) = (Int.random(in: 1...300, using: &random), Int.random(in: 1...700, using: &random))
      let start = Int.random(in: 0..<columns, using: &random)
      let scaling = [Float8Scaling.tensor, .row, .publishedBlock, .block(rows: 16, columns: 48), .block(rows: 1, columns: 128)]
        .randomElement(using: &random)!
      let whole = Tensor.randn([rows, columns], generator: Generator(seed: UInt64(seed)))
        .to(dtype: seed.isMultiple(of: 2) ? .bfloat16 : .float32)
      let matrix = whole.narrow(1, start: start, length: columns - start)
      let found = Float8Matrix(quantizing: whole.to(device: device).narrow(1, start: start, length: columns - start), scaling)
      let wanted = Float8Matrix(quantizing: matrix, scaling)
      let same = found.values.to(device: .cpu).viewing(.uint8).equal(wanted.values.viewing(.uint8))
        && found.scales.to(device: .cpu).equal(wanted.scales)
      #expect(same, "\(rows) x \(columns - start), \(scaling.name)")
    }
  }

  @Test func graphsReplay() throws {
    let device = try GPU.open()
    let input = Tensor.ones([256], device: device)
    var output: Tensor?
    let graph = try CUDAGraph(on: device) { output = (input * 3 + 1).sum() }
    for value in [1.0, 2, 5] {
      _ = input.fill_(value)
      try graph.replay()
      #expect(output!.item() == 256 * (3 * value + 1))
    }
  }
}
