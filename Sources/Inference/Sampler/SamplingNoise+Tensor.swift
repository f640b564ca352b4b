import Torch

extension SamplingNoise {
  /// The noise of several rows. `[noises.count, columns]`, fp64
  package static func uniforms(_ noises: [SamplingNoise], columns: Int, device: Device) -> Tensor {
    device.kind == .cpu ? onHost(noises, columns: columns) : byOperators(noises, columns: columns, device: device)
  }

  private static func onHost(_ noises: [SamplingNoise], columns: Int) -> Tensor {
    let result = Tensor.empty([noises.count, columns], dtype: .float64)
    result.withMutableBytes { bytes in
      let values = bytes.bindMemory(to: Double.self)
      for (i, noise) in noises.enumerated() {
        noise.fill(UnsafeMutableBufferPointer(rebasing: values[i * columns..<(i + 1) * columns]))
      }
    }
    return result
  }

  /// The same numbers, made where the logits are: two's complement multiplication is that of unsigned numbers, and a
  /// logical shift is an arithmetic one with the copies of the sign cut off.
  package static func byOperators(_ noises: [SamplingNoise], columns: Int, device: Device) -> Tensor {
    func signed(_ value: UInt64) -> Int { Int(truncatingIfNeeded: value) }
    func shifted(_ value: Tensor, by count: Int) -> Tensor {
      value.bitwiseRightShift(count).bitwiseAnd(Tensor(signed(UInt64.max >> UInt64(count)), dtype: .int64, device: device))
    }
    let keys = Tensor(noises.map { signed($0.key) }, shape: [noises.count, 1]).sent(to: device)
    let steps = (Tensor.arange(columns, device: device) + 1) * signed(gamma)
    var z = keys + steps.unsqueeze(0)
    z = z.bitwiseXor(shifted(z, by: 30)) * signed(0xBF58_476D_1CE4_E5B9)
    z = z.bitwiseXor(shifted(z, by: 27)) * signed(0x94D0_49BB_1331_11EB)
    z = z.bitwiseXor(shifted(z, by: 31))
    return (shifted(z, by: 12) * 2 + 1).to(dtype: .float64) * 0x1p-53
  }
}
