import Testing
import Torch

@Suite struct DTypeTests {
  private struct Conversions: Decodable {
    let values: [Int32]
    let narrow: [String: [Int]]
    let widened: [String: [Int32?]]
  }

  /// Bit for bit what PyTorch gives: rounding to even, subnormals, overflow.
  @Test(arguments: [DType.bfloat16, .float16, .float8e4m3, .float8e5m2])
  func narrowingAndWidening(dtype: DType) throws {
    let fixture: Conversions = try torchFixture("conversions")
    let values = Tensor(fixture.values).viewing(.float32)
    let narrow = values.to(dtype: dtype)
    #expect(narrow.dtype == dtype && narrow.byteCount == values.count * dtype.size)

    let expected = try #require(fixture.narrow[dtype.name])
    let bits: [Int] =
      dtype.size == 1
      ? narrow.viewing(.uint8).array(UInt8.self).map(Int.init) : narrow.viewing(.int16).array(Int.self)
    #expect(bits == expected)

    let widened = narrow.to(dtype: .float32).viewing(.int32).array(Int32.self)
    let expectedWide = try #require(fixture.widened[dtype.name])
    for (bits, expected) in zip(widened, expectedWide) {
      if let expected { #expect(bits == expected) } else { #expect(Float(bitPattern: UInt32(bitPattern: bits)).isNaN) }
    }
  }

  @Test func arraysBothWays() {
    #expect(Tensor([1.5, -2] as [Float]).array(Float.self) == [1.5, -2])
    #expect(Tensor([1.5, -2] as [Double]).dtype == .float64)
    #expect(Tensor([Int.max, Int.min]).array(Int.self) == [.max, .min])
    #expect(Tensor([Int32.max, Int32.min]).array(Int32.self) == [.max, .min])
    #expect(Tensor([0, 255] as [UInt8]).array(UInt8.self) == [0, 255])
    #expect(Tensor([true, false]).array(Bool.self) == [true, false])
    #expect(Tensor([] as [Float]).shape == [0] && Tensor([] as [Float]).array(Float.self).isEmpty)
    #expect(Tensor([1, 2, 3, 4], shape: [2, 2]).transpose(0, dim1: 1).array(Int.self) == [1, 3, 2, 4])
  }

  @Test func arraysConvert() {
    let values = Tensor([-1.7, 0, 2.5] as [Float])
    #expect(values.array(Int.self) == [-1, 0, 2])
    #expect(values.array(Bool.self) == [true, false, true])
    #expect(Tensor([true, false]).array(Float.self) == [1, 0])
    #expect(values.to(dtype: .bfloat16).array(Double.self) == [-1.703125, 0, 2.5])
  }

  @Test(arguments: DType.allCases)
  func everyTypeHasTensors(dtype: DType) throws {
    let tensor = try catchingTorchErrors { Tensor.ones([2, 3], dtype: .float32).to(dtype: dtype) }
    #expect(tensor.dtype == dtype && tensor.byteCount == 6 * dtype.size && tensor.storageByteCount == 6 * dtype.size)
    #expect(tensor.array(Float.self) == Array(repeating: 1, count: 6))
    #expect(DType(name: dtype.name) == dtype)
    #expect(!tensor.description.isEmpty)
    #expect(Tensor.zeros([2], dtype: dtype).array(Int.self) == [0, 0])
  }

  @Test func unknownNameIsNoType() { #expect(DType(name: "complex64") == nil) }

  @Test func numbers() throws {
    #expect(Tensor(2.5).item() == 2.5 && Tensor(7, dtype: .int64).intItem() == 7)
    #expect(Tensor(true, dtype: .bool).array(Bool.self) == [true])
    #expect(message { try catchingTorchErrors { _ = Tensor([1, 2]).item() } }?.contains("2 elements") == true)
  }

  @Test func metaTensorsHaveShapesOnly() throws {
    let tensor = Tensor.empty([1 << 20, 1 << 20], dtype: .bfloat16, device: .meta)
    #expect(tensor.device == .meta && tensor.shape == [1 << 20, 1 << 20] && tensor.byteCount == 1 << 41)
    let product = tensor.matmul(tensor.t())
    #expect(product.device == .meta && product.shape == [1 << 20, 1 << 20])
    let small = tensor[0..<2][0].narrow(0, start: 0, length: 3)
    #expect(message { try catchingTorchErrors { _ = small.array(Float.self) } }?.contains("meta") == true)
    #expect(message { try catchingTorchErrors { small.withMutableBytes { _ in } } }?.contains("on meta") == true)
  }
}
