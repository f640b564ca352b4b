import Foundation
import Torch

/// MXFP4 (Open Compute Project, "Microscaling Formats", 2023) as GPT-OSS keeps it: blocks of 32 numbers of four bits, two
/// in a byte, the first in the low half, and a power of two for each block.
enum PackedFloat4 {
  /// What a number's four bits mean (E2M1).
  private static let values: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
  private static let blockSize = 32

  /// The tensors that stand for one.
  static func names(_ name: String) -> [String] { [name + "_blocks", name + "_scales"] }

  /// - Parameter shape: of what is packed, `[experts, inputs, outputs]`; rows of outputs are packed along the inputs.
  static func shapes(_ shape: [Int]) -> [[Int]] {
    let blocks = [shape[0], shape[2], shape[1] / blockSize]
    return [blocks + [blockSize / 2], blocks]
  }

  /// `[rows, blocks, 16]` and `[rows, blocks]`, bytes → `[rows, blocks · 32]`, fp32: exactly what they say.
  static func unpacked(blocks: Tensor, scales: Tensor) -> Tensor {
    let table = Tensor(values)
    func numbers(_ bits: Tensor) -> Tensor { table.indexSelect(0, index: bits.to(dtype: .int64).flatten()).view(blocks.shape) }
    let high = blocks.bitwiseRightShift(4)
    let low = blocks - high * 16
    let powers = Tensor((0..<256).map { Float(sign: .plus, exponent: $0 - 127, significand: 1) })
    let factors = powers.indexSelect(0, index: scales.to(dtype: .int64).flatten()).view(scales.shape)
    let pairs = Tensor.stack([numbers(low), numbers(high)], dim: 3).flatten(2)
    return (pairs * factors.unsqueeze(2)).flatten(1)
  }
}
