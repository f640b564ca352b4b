import CTorch

/// What `Kernels.sample` chose of each row of logits, in one tensor, which comes to the host at once.
public struct Samples {
  /// int64 `[2, rows]`: tokens; and as halves of a number, the lower one first, scores and log-probabilities.
  public let packed: Tensor

  /// `[rows]`, int64
  public var tokens: Tensor { packed[0] }
  /// `[rows]`, fp32
  public var logProbs: Tensor { packed[1].viewing(.float32).view([packed.size(1), 2]).select(1, index: 1) }

  /// - Parameter packed: as it was, on the host.
  public static func rows(_ packed: Tensor) -> [(token: Int, score: Float, logProb: Float)] {
    let (numbers, rows) = (packed.array(Int.self), packed.size(1))
    return (0..<rows).map { row in
      let halves = UInt64(bitPattern: Int64(numbers[rows + row]))
      return (
        numbers[row], Float(bitPattern: UInt32(truncatingIfNeeded: halves)), Float(bitPattern: UInt32(halves >> 32))
      )
    }
  }
}

extension Kernels {
  /// Whether `sample` takes logits: those that the other kernels take, and on a CPU fp32 and bf16.
  public static func sample(on device: Device, _ dtype: DType) -> Bool {
    device.kind == .cpu ? dtype == .float32 || dtype == .bfloat16 : run(on: device, dtype)
  }

  /// Samples each row of logits by the largest of logit / temperature + Gumbel noise; log-probabilities are those over the
  /// temperature.
  /// - Parameters:
  ///   - logits: `[rows, vocabulary]`, as `sample(on:_:)` says.
  ///   - temperatures: `[rows]`, fp32
  ///   - keys: of the rows' `SamplingNoise`. `[rows]`, int64
  ///   - isGreedy: where no noise is added. `[rows]`, bool
  public static func sample(_ logits: Tensor, temperatures: Tensor, keys: Tensor, isGreedy: Tensor) -> Samples {
    withExtendedLifetime((logits, temperatures, keys, isGreedy)) {
      let sample = logits.device.kind == .cpu ? ct_sample : table.sample!
      return Samples(packed: Tensor(owned: sample(logits.handle, temperatures.handle, keys.handle, isGreedy.handle)))
    }
  }
}
