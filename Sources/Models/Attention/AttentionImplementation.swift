import Parallelism
import Torch

/// How the attention of training is computed. The raw values are those of Hugging Face's `attn_implementation`, and cudnn.
public enum AttentionImplementation: String, Sendable, Codable, CaseIterable {
  /// FlashAttention-2's kernel for packed sequences, in libtorch.
  case flashAttention2 = "flash_attention_2"
  case flashAttention3 = "flash_attention_3"
  /// cuDNN's kernel for packed sequences; FlashAttention-2's where a layer has a window or a soft cap.
  case cudnn
  /// libtorch's `scaled_dot_product_attention`, on sequences padded to rectangles: its best kernel on any device.
  case sdpa
  /// Plain operators on any device: what the others are measured against.
  case eager

  /// The fastest one that trains on a device in a type.
  /// - Parameter headDimension: nil: one whose sums do not depend on what stands beside a sequence.
  public static func fastest(on device: Device, _ dtype: DType, headDimension: Int?) -> AttentionImplementation {
    guard device.kind == .cuda, dtype != .float32 else { return .sdpa }
    guard let headDimension else { return .flashAttention2 }
    let isFast = CuDNNAttention.takes(queryDimension: headDimension, valueDimension: headDimension) && CuDNNAttention.isFast(on: device)
    return isFast ? .cudnn : .flashAttention2
  }

  /// This one, if it can train there with heads of this dimension.
  /// - Throws: `ModelError` that says what to use instead.
  public func checked(
    on device: Device, _ dtype: DType, headDimension: Int
  ) throws -> AttentionImplementation {
    switch self {
    case .flashAttention3:
      throw ModelError(
        "--attn-implementation flash_attention_3 is a library that libtorch does not contain; use flash_attention_2 or cudnn")
    case .flashAttention2, .cudnn:
      guard device.kind == .cuda else {
        throw ModelError("--attn-implementation \(rawValue) runs on a GPU only; use sdpa with --device \(device.kind)")
      }
      guard dtype != .float32 else {
        throw ModelError("--attn-implementation \(rawValue) computes in half precision only; use sdpa, or bf16 or fp16")
      }
      let (largest, multiple) = self == .cudnn ? (128, 8) : (256, 1)
      guard headDimension <= largest, headDimension % multiple == 0 else {
        throw ModelError(
          "--attn-implementation \(rawValue) takes head dimensions up to \(largest) that are multiples of \(multiple), and "
            + "this model's is \(headDimension); use sdpa")
      }
    case .sdpa, .eager: break
    }
    return self
  }
}

/// The attention of training: over whole sequences, or over the context-parallel ranks' parts of them.
/// - Parameters:
///   - lengths: tokens of each sequence on this rank.
///   - implementation: one that was `checked` for the device and type.
public func trainingAttention(
  lengths: [Int], parallel: ParallelContext, implementation: AttentionImplementation
) -> any AttentionBackend {
  // Imagined, both keep the same.
  let implementation = implementation == .cudnn && parallel.device.kind == .meta ? .flashAttention2 : implementation
  guard parallel.context.size > 1 else {
    return PackedAttention(
      lengths: lengths, device: parallel.device, implementation: implementation, isDeterministic: parallel.isDeterministic)
  }
  let blocks: any BlockAttention =
    switch implementation {
    case .flashAttention2: FlashBlockAttention()
    case .cudnn: CuDNNBlockAttention()
    case .eager: RectangleAttention(usesFusedKernel: false)
    case .sdpa: RectangleAttention(usesFusedKernel: true)
    case .flashAttention3: preconditionFailure("\(implementation.rawValue) was not checked")
    }
  return RingAttention(lengths: lengths, group: parallel.context, blocks: blocks, device: parallel.device)
}
