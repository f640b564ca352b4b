/// Uniform noise that is a function of (seed, position, column) alone.
///
/// Seeded sampling draws the noise of token `column` at `position` from here, so what a request samples depends neither
/// on the batch it runs in nor on how its prompt was cut into chunks. Counter-based, as in Salmon et al., "Parallel
/// Random Numbers: As Easy as 1, 2, 3" (SC11); the mixing function is the finaliser of splitmix64 (Steele, Lea and Flood,
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). All arithmetic is on 64-bit integers modulo 2^64:
///
///     row            = mix(mix(seed + γ) ^ (position + 1)·γ)
///     bits(column)   = mix(row + (column + 1)·γ)              γ = 0x9E3779B97F4A7C15
///     uniform        = ((bits >> 12) + 0.5) / 2^52            in (0, 1), never 0 or 1
///
/// A row is computed once; each column then costs one `mix`, without a branch or a dependency on its neighbours, so
/// compilers vectorise the loop and a kernel can compute any column by itself.
public struct SamplingNoise: Sendable, Equatable {
  static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// What all columns of the row share.
  let key: UInt64

  /// The same 64 bits as a signed number.
  public var signedKey: Int { Int(truncatingIfNeeded: key) }

  /// The noise of one row of logits.
  /// - Parameter position: that of the token to be sampled, in its request.
  public init(seed: Int, position: Int) {
    let seeded = Self.mix(UInt64(bitPattern: Int64(seed)) &+ Self.gamma)
    key = Self.mix(seeded ^ ((UInt64(bitPattern: Int64(position)) &+ 1) &* Self.gamma))
  }

  /// In the open interval (0, 1), a multiple of 2^-53: `-log(-log(u))` is finite.
  public func uniform(column: Int) -> Double {
    Double((bits(column: column) >> 12) &* 2 &+ 1) * 0x1p-53
  }

  /// The noise of columns `0..<output.count`.
  public func fill(_ output: UnsafeMutableBufferPointer<Double>) {
    for column in output.indices { output[column] = uniform(column: column) }
  }

  /// The noise of columns `0..<count`.
  public func uniforms(count: Int) -> [Double] {
    Array(unsafeUninitializedCapacity: count) { buffer, initialized in
      fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
      initialized = count
    }
  }

  private func bits(column: Int) -> UInt64 {
    Self.mix(key &+ (UInt64(bitPattern: Int64(column)) &+ 1) &* Self.gamma)
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
