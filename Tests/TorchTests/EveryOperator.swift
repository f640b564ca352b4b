// Made by Scripts/generate_operators.py from Scripts/operators.txt. Do not edit.
import Torch

/// Each generated operator, callable with any tensors.
struct EveryOperator {
  struct Entry {
    let name: String
    let tensorCount: Int
    /// Calls it; the closure gives its tensor arguments by position.
    let call: (_ tensor: (Int) -> Tensor) -> Void
  }
  private(set) var entries: [Entry] = []

  private mutating func add(_ name: String, _ tensorCount: Int, _ call: @escaping (_ t: (Int) -> Tensor) -> Void) {
    entries.append(Entry(name: name, tensorCount: tensorCount, call: call))
  }

  init() {
    add("add.Tensor", 2) { t in _ = t(0).add(t(1)) }
    add("add.Scalar", 1) { t in _ = t(0).add(1) }
    add("add_.Tensor", 2) { t in _ = t(0).add_(t(1)) }
    add("add_.Scalar", 1) { t in _ = t(0).add_(1) }
    add("sub.Tensor", 2) { t in _ = t(0).sub(t(1)) }
    add("sub.Scalar", 1) { t in _ = t(0).sub(1) }
    add("sub_.Tensor", 2) { t in _ = t(0).sub_(t(1)) }
    add("sub_.Scalar", 1) { t in _ = t(0).sub_(1) }
    add("rsub.Scalar", 1) { t in _ = t(0).rsub(1) }
    add("mul.Tensor", 2) { t in _ = t(0).mul(t(1)) }
    add("mul.Scalar", 1) { t in _ = t(0).mul(1) }
    add("mul_.Tensor", 2) { t in _ = t(0).mul_(t(1)) }
    add("mul_.Scalar", 1) { t in _ = t(0).mul_(1) }
    add("div.Tensor", 2) { t in _ = t(0).div(t(1)) }
    add("div.Scalar", 1) { t in _ = t(0).div(1) }
    add("div.Tensor_mode", 2) { t in _ = t(0).div(t(1)) }
    add("div_.Tensor", 2) { t in _ = t(0).div_(t(1)) }
    add("div_.Scalar", 1) { t in _ = t(0).div_(1) }
    add("floor_divide.Scalar", 1) { t in _ = t(0).floorDivide(1) }
    add("remainder.Scalar", 1) { t in _ = t(0).remainder(1) }
    add("remainder.Tensor", 2) { t in _ = t(0).remainder(t(1)) }
    add("neg", 1) { t in _ = t(0).neg() }
    add("abs", 1) { t in _ = t(0).abs() }
    add("exp", 1) { t in _ = t(0).exp() }
    add("exp_", 1) { t in _ = t(0).exp_() }
    add("expm1", 1) { t in _ = t(0).expm1() }
    add("log", 1) { t in _ = t(0).log() }
    add("log_", 1) { t in _ = t(0).log_() }
    add("log1p", 1) { t in _ = t(0).log1p() }
    add("sqrt", 1) { t in _ = t(0).sqrt() }
    add("rsqrt", 1) { t in _ = t(0).rsqrt() }
    add("square", 1) { t in _ = t(0).square() }
    add("reciprocal", 1) { t in _ = t(0).reciprocal() }
    add("pow.Tensor_Scalar", 1) { t in _ = t(0).pow(1) }
    add("sigmoid", 1) { t in _ = t(0).sigmoid() }
    add("tanh", 1) { t in _ = t(0).tanh() }
    add("relu", 1) { t in _ = t(0).relu() }
    add("silu", 1) { t in _ = t(0).silu() }
    add("gelu", 1) { t in _ = t(0).gelu() }
    add("cos", 1) { t in _ = t(0).cos() }
    add("sin", 1) { t in _ = t(0).sin() }
    add("floor", 1) { t in _ = t(0).floor() }
    add("ceil", 1) { t in _ = t(0).ceil() }
    add("round", 1) { t in _ = t(0).round() }
    add("sign", 1) { t in _ = t(0).sign() }
    add("clamp", 1) { t in _ = t(0).clamped() }
    add("clamp_", 1) { t in _ = t(0).clamp_() }
    add("clamp_min", 1) { t in _ = t(0).clampMin(1) }
    add("clamp_max", 1) { t in _ = t(0).clampMax(1) }
    add("maximum", 2) { t in _ = t(0).maximum(t(1)) }
    add("minimum", 2) { t in _ = t(0).minimum(t(1)) }
    add("addcmul", 3) { t in _ = t(0).addcmul(t(1), tensor2: t(2)) }
    add("addcmul_", 3) { t in _ = t(0).addcmul_(t(1), tensor2: t(2)) }
    add("addcdiv_", 3) { t in _ = t(0).addcdiv_(t(1), tensor2: t(2)) }
    add("lerp_.Scalar", 2) { t in _ = t(0).lerp_(t(1), weight: 1) }
    add("softplus", 1) { t in _ = t(0).softplus() }
    add("eq.Tensor", 2) { t in _ = t(0).eq(t(1)) }
    add("eq.Scalar", 1) { t in _ = t(0).eq(1) }
    add("ne.Tensor", 2) { t in _ = t(0).ne(t(1)) }
    add("ne.Scalar", 1) { t in _ = t(0).ne(1) }
    add("lt.Tensor", 2) { t in _ = t(0).lt(t(1)) }
    add("lt.Scalar", 1) { t in _ = t(0).lt(1) }
    add("le.Tensor", 2) { t in _ = t(0).le(t(1)) }
    add("le.Scalar", 1) { t in _ = t(0).le(1) }
    add("gt.Tensor", 2) { t in _ = t(0).gt(t(1)) }
    add("gt.Scalar", 1) { t in _ = t(0).gt(1) }
    add("ge.Tensor", 2) { t in _ = t(0).ge(t(1)) }
    add("ge.Scalar", 1) { t in _ = t(0).ge(1) }
    add("logical_and", 2) { t in _ = t(0).logicalAnd(t(1)) }
    add("logical_or", 2) { t in _ = t(0).logicalOr(t(1)) }
    add("logical_not", 1) { t in _ = t(0).logicalNot() }
    add("bitwise_and.Tensor", 2) { t in _ = t(0).bitwiseAnd(t(1)) }
    add("bitwise_xor.Tensor", 2) { t in _ = t(0).bitwiseXor(t(1)) }
    add("bitwise_xor.Scalar", 1) { t in _ = t(0).bitwiseXor(1) }
    add("bitwise_left_shift.Tensor_Scalar", 1) { t in _ = t(0).bitwiseLeftShift(1) }
    add("bitwise_right_shift.Tensor_Scalar", 1) { t in _ = t(0).bitwiseRightShift(1) }
    add("where.self", 3) { t in _ = Tensor.select(t(0), value: t(1), other: t(2)) }
    add("isnan", 1) { t in _ = t(0).isnan() }
    add("isfinite", 1) { t in _ = t(0).isfinite() }
    add("isinf", 1) { t in _ = t(0).isinf() }
    add("equal", 2) { t in _ = t(0).equal(t(1)) }
    add("allclose", 2) { t in _ = t(0).allclose(t(1)) }
    add("any", 1) { t in _ = t(0).any() }
    add("any.dim", 1) { t in _ = t(0).any(1) }
    add("all", 1) { t in _ = t(0).all() }
    add("all.dim", 1) { t in _ = t(0).all(1) }
    add("nonzero", 1) { t in _ = t(0).nonzero() }
    add("masked_fill.Scalar", 2) { t in _ = t(0).maskedFill(t(1), value: 1) }
    add("masked_fill_.Scalar", 2) { t in _ = t(0).maskedFill_(t(1), value: 1) }
    add("masked_select", 2) { t in _ = t(0).maskedSelect(t(1)) }
    add("bincount", 2) { t in _ = t(0).bincount(t(1)) }
    add("sum", 1) { t in _ = t(0).sum() }
    add("sum.dim_IntList", 1) { t in _ = t(0).sum() }
    add("mean", 1) { t in _ = t(0).mean() }
    add("mean.dim", 1) { t in _ = t(0).mean() }
    add("amax", 1) { t in _ = t(0).amax() }
    add("amin", 1) { t in _ = t(0).amin() }
    add("max", 1) { t in _ = t(0).max() }
    add("max.dim", 1) { t in _ = t(0).max(1) }
    add("min", 1) { t in _ = t(0).min() }
    add("min.dim", 1) { t in _ = t(0).min(1) }
    add("argmax", 1) { t in _ = t(0).argmax() }
    add("argmin", 1) { t in _ = t(0).argmin() }
    add("logsumexp", 1) { t in _ = t(0).logsumexp([1]) }
    add("linalg_vector_norm", 1) { t in _ = t(0).vectorNorm() }
    add("var.correction", 1) { t in _ = t(0).variance() }
    add("std.correction", 1) { t in _ = t(0).standardDeviation() }
    add("cumsum", 1) { t in _ = t(0).cumsum(1) }
    add("prod", 1) { t in _ = t(0).prod() }
    add("topk", 1) { t in _ = t(0).topk(1) }
    add("sort", 1) { t in _ = t(0).sort() }
    add("sort.stable", 1) { t in _ = t(0).sort() }
    add("argsort", 1) { t in _ = t(0).argsort() }
    add("softmax.int", 1) { t in _ = t(0).softmax(1) }
    add("log_softmax.int", 1) { t in _ = t(0).logSoftmax(1) }
    add("multinomial", 1) { t in _ = t(0).multinomial(1) }
    add("searchsorted.Tensor", 3) { t in _ = Tensor.searchsorted(t(0), value: t(1), sorter: t(2)) }
    add("view", 1) { t in _ = t(0).view([1]) }
    add("view.dtype", 1) { t in _ = t(0).viewing(.float32) }
    add("reshape", 1) { t in _ = t(0).reshape([1]) }
    add("permute", 1) { t in _ = t(0).permute([1]) }
    add("transpose.int", 1) { t in _ = t(0).transpose(1, dim1: 1) }
    add("t", 1) { t in _ = t(0).t() }
    add("unsqueeze", 1) { t in _ = t(0).unsqueeze(1) }
    add("squeeze.dim", 1) { t in _ = t(0).squeeze(1) }
    add("squeeze", 1) { t in _ = t(0).squeeze() }
    add("expand", 1) { t in _ = t(0).expand([1]) }
    add("repeat", 1) { t in _ = t(0).tiled([1]) }
    add("flatten.using_ints", 1) { t in _ = t(0).flatten() }
    add("select.int", 1) { t in _ = t(0).select(1, index: 1) }
    add("slice.Tensor", 1) { t in _ = t(0).slice() }
    add("narrow", 1) { t in _ = t(0).narrow(1, start: 1, length: 1) }
    add("split_with_sizes", 1) { t in _ = t(0).splitWithSizes([1]) }
    add("split.Tensor", 1) { t in _ = t(0).split(1) }
    add("chunk", 1) { t in _ = t(0).chunk(1) }
    add("unbind.int", 1) { t in _ = t(0).unbind() }
    add("cat", 1) { t in _ = Tensor.cat([t(0)]) }
    add("stack", 1) { t in _ = Tensor.stack([t(0)]) }
    add("flip", 1) { t in _ = t(0).flip([1]) }
    add("roll", 1) { t in _ = t(0).roll([1]) }
    add("tril", 1) { t in _ = t(0).tril() }
    add("triu", 1) { t in _ = t(0).triu() }
    add("as_strided", 1) { t in _ = t(0).asStrided([1], stride: [1]) }
    add("unflatten.int", 1) { t in _ = t(0).unflatten(1, sizes: [1]) }
    add("movedim.int", 1) { t in _ = t(0).movedim(1, destination: 1) }
    add("repeat_interleave.self_int", 1) { t in _ = t(0).repeatInterleave(1) }
    add("repeat_interleave.self_Tensor", 2) { t in _ = t(0).repeatInterleave(t(1)) }
    add("diagonal", 1) { t in _ = t(0).diagonal() }
    add("constant_pad_nd", 1) { t in _ = t(0).constantPadNd([1]) }
    add("index_select", 2) { t in _ = t(0).indexSelect(1, index: t(1)) }
    add("gather", 2) { t in _ = t(0).gather(1, index: t(1)) }
    add("scatter.src", 3) { t in _ = t(0).scatter(1, index: t(1), src: t(2)) }
    add("scatter.value", 2) { t in _ = t(0).scatter(1, index: t(1), value: 1) }
    add("scatter_.src", 3) { t in _ = t(0).scatter_(1, index: t(1), src: t(2)) }
    add("scatter_.value", 2) { t in _ = t(0).scatter_(1, index: t(1), value: 1) }
    add("scatter_add", 3) { t in _ = t(0).scatterAdd(1, index: t(1), src: t(2)) }
    add("scatter_add_", 3) { t in _ = t(0).scatterAdd_(1, index: t(1), src: t(2)) }
    add("index_add", 3) { t in _ = t(0).indexAdd(1, index: t(1), source: t(2)) }
    add("index_add_", 3) { t in _ = t(0).indexAdd_(1, index: t(1), source: t(2)) }
    add("index_copy_", 3) { t in _ = t(0).indexCopy_(1, index: t(1), source: t(2)) }
    add("index_fill_.int_Scalar", 2) { t in _ = t(0).indexFill_(1, index: t(1), value: 1) }
    add("take_along_dim", 2) { t in _ = t(0).takeAlongDim(t(1)) }
    add("embedding", 2) { t in _ = Tensor.embedding(t(0), indices: t(1)) }
    add("embedding_dense_backward", 2) { t in
      _ = Tensor.embeddingDenseBackward(t(0), indices: t(1), numWeights: 1, paddingIdx: 1, scaleGradByFreq: false)
    }
    add("one_hot", 1) { t in _ = t(0).oneHot() }
    add("matmul", 2) { t in _ = t(0).matmul(t(1)) }
    add("mm", 2) { t in _ = t(0).mm(t(1)) }
    add("mm.out", 3) { t in _ = t(0).mmOut(t(1), out: t(2)) }
    add("mm.dtype_out", 3) { t in _ = t(0).mmOut(t(1), outDtype: .float32, out: t(2)) }
    add("bmm", 2) { t in _ = t(0).bmm(t(1)) }
    add("addmm", 3) { t in _ = t(0).addmm(t(1), mat2: t(2)) }
    add("addmm_", 3) { t in _ = t(0).addmm_(t(1), mat2: t(2)) }
    add("addmm.dtype_out", 4) { t in _ = t(0).addmmOut(t(1), mat2: t(2), outDtype: .float32, out: t(3)) }
    add("baddbmm", 3) { t in _ = t(0).baddbmm(t(1), batch2: t(2)) }
    add("linear", 3) { t in _ = t(0).linear(t(1), bias: t(2)) }
    add("einsum", 1) { t in _ = Tensor.einsum("a", tensors: [t(0)]) }
    add("outer", 2) { t in _ = t(0).outer(t(1)) }
    add("linalg_solve_triangular", 2) { t in _ = t(0).solveTriangular(t(1), upper: false) }
    add("_grouped_mm", 4) { t in _ = t(0).groupedMm(t(1), offs: t(2), bias: t(3)) }
    add("_scaled_mm", 6) { t in _ = t(0).scaledMm(t(1), scaleA: t(2), scaleB: t(3), bias: t(4), scaleResult: t(5)) }
    add("_scaled_mm_v2", 5) { t in
      _ = t(0).scaledMmV2(
        t(1), scaleA: [t(2)], recipeA: [1], swizzleA: [1], scaleB: [t(3)], recipeB: [1], swizzleB: [1], bias: t(4)
      )
    }
    add("_scaled_grouped_mm", 7) { t in
      _ = t(0).scaledGroupedMm(t(1), scaleA: t(2), scaleB: t(3), offs: t(4), bias: t(5), scaleResult: t(6))
    }
    add("rms_norm", 2) { t in _ = t(0).rmsNorm([1], weight: t(1)) }
    add("_fused_rms_norm", 2) { t in _ = t(0).fusedRmsNorm([1], weight: t(1)) }
    add("_fused_rms_norm_backward", 4) { t in
      _ = Tensor.fusedRmsNormBackward(
        t(0), input: t(1), normalizedShape: [1], rstd: t(2), weight: t(3), outputMask: [true, true]
      )
    }
    add("layer_norm", 3) { t in _ = t(0).layerNorm([1], weight: t(1), bias: t(2)) }
    add("dropout", 1) { t in _ = t(0).dropout(0.5, train: false) }
    add("scaled_dot_product_attention", 4) { t in
      _ = t(0).scaledDotProductAttention(t(1), value: t(2), attnMask: t(3))
    }
    add("_upsample_bicubic2d_aa", 1) { t in _ = t(0).upsampleBicubic2dAa([1], alignCorners: false) }
    add("_scaled_dot_product_flash_attention_for_cpu", 4) { t in
      _ = t(0).scaledDotProductFlashAttentionForCpu(t(1), value: t(2), attnMask: t(3))
    }
    add("_scaled_dot_product_flash_attention_for_cpu_backward", 7) { t in
      _ = Tensor.scaledDotProductFlashAttentionForCpuBackward(
        t(0), query: t(1), key: t(2), value: t(3), out: t(4), logsumexp: t(5), dropoutP: 0.5, isCausal: false,
        attnMask: t(6)
      )
    }
    add("_flash_attention_forward", 7) { t in
      _ = t(0).flashAttentionForward(
        t(1), value: t(2), cumSeqQ: t(3), cumSeqK: t(4), maxQ: 1, maxK: 1, dropoutP: 0.5, isCausal: false,
        returnDebugMask: false, sequsedK: t(5), alibiSlopes: t(6)
      )
    }
    add("_flash_attention_backward", 10) { t in
      _ = Tensor.flashAttentionBackward(
        t(0), query: t(1), key: t(2), value: t(3), out: t(4), logsumexp: t(5), cumSeqQ: t(6), cumSeqK: t(7), maxQ: 1,
        maxK: 1, dropoutP: 0.5, isCausal: false, rngState: t(8), unused: t(9)
      )
    }
    add("nll_loss", 3) { t in _ = t(0).nllLoss(t(1), weight: t(2)) }
    add("cross_entropy_loss", 3) { t in _ = t(0).crossEntropyLoss(t(1), weight: t(2)) }
    add("copy_", 2) { t in _ = t(0).copy_(t(1)) }
    add("fill_.Scalar", 1) { t in _ = t(0).fill_(1) }
    add("fill_.Tensor", 2) { t in _ = t(0).fill_(t(1)) }
    add("zero_", 1) { t in _ = t(0).zero_() }
    add("uniform_", 1) { t in _ = t(0).uniform_() }
    add("normal_", 1) { t in _ = t(0).normal_() }
    add("exponential_", 1) { t in _ = t(0).exponential_() }
    add("bernoulli_.float", 1) { t in _ = t(0).bernoulli_() }
    add("_fused_adamw_", 8) { t in
      Tensor.fusedAdamw_(
        [t(0)], grads: [t(1)], expAvgs: [t(2)], expAvgSqs: [t(3)], maxExpAvgSqs: [t(4)], stateSteps: [t(5)], lr: 0.5,
        beta1: 0.5, beta2: 0.5, weightDecay: 0.5, eps: 0.5, amsgrad: false, maximize: false, gradScale: t(6),
        foundInf: t(7)
      )
    }
    add("_fused_adam_", 8) { t in
      Tensor.fusedAdam_(
        [t(0)], grads: [t(1)], expAvgs: [t(2)], expAvgSqs: [t(3)], maxExpAvgSqs: [t(4)], stateSteps: [t(5)], lr: 0.5,
        beta1: 0.5, beta2: 0.5, weightDecay: 0.5, eps: 0.5, amsgrad: false, maximize: false, gradScale: t(6),
        foundInf: t(7)
      )
    }
    add("_fused_sgd_", 5) { t in
      Tensor.fusedSgd_(
        [t(0)], grads: [t(1)], momentumBufferList: [t(2)], weightDecay: 0.5, momentum: 0.5, lr: 0.5, dampening: 0.5,
        nesterov: false, maximize: false, isFirstStep: false, gradScale: t(3), foundInf: t(4)
      )
    }
    add("_foreach_add_.Scalar", 1) { t in Tensor.foreachAdd_([t(0)], scalar: 1) }
    add("_foreach_add_.List", 2) { t in Tensor.foreachAdd_([t(0)], other: [t(1)]) }
    add("_foreach_add_.Tensor", 2) { t in Tensor.foreachAdd_([t(0)], other: t(1)) }
    add("_foreach_add.List", 2) { t in _ = Tensor.foreachAdd([t(0)], other: [t(1)]) }
    add("_foreach_sub_.List", 2) { t in Tensor.foreachSub_([t(0)], other: [t(1)]) }
    add("_foreach_mul_.Scalar", 1) { t in Tensor.foreachMul_([t(0)], scalar: 1) }
    add("_foreach_mul_.List", 2) { t in Tensor.foreachMul_([t(0)], other: [t(1)]) }
    add("_foreach_mul_.Tensor", 2) { t in Tensor.foreachMul_([t(0)], other: t(1)) }
    add("_foreach_mul.Scalar", 1) { t in _ = Tensor.foreachMul([t(0)], scalar: 1) }
    add("_foreach_div_.Scalar", 1) { t in Tensor.foreachDiv_([t(0)], scalar: 1) }
    add("_foreach_div_.List", 2) { t in Tensor.foreachDiv_([t(0)], other: [t(1)]) }
    add("_foreach_lerp_.Scalar", 2) { t in Tensor.foreachLerp_([t(0)], tensors1: [t(1)], weight: 1) }
    add("_foreach_addcmul_.Scalar", 3) { t in Tensor.foreachAddcmul_([t(0)], tensor1: [t(1)], tensor2: [t(2)]) }
    add("_foreach_addcdiv_.Scalar", 3) { t in Tensor.foreachAddcdiv_([t(0)], tensor1: [t(1)], tensor2: [t(2)]) }
    add("_foreach_sqrt", 1) { t in _ = Tensor.foreachSqrt([t(0)]) }
    add("_foreach_sqrt_", 1) { t in Tensor.foreachSqrt_([t(0)]) }
    add("_foreach_neg_", 1) { t in Tensor.foreachNeg_([t(0)]) }
    add("_foreach_abs", 1) { t in _ = Tensor.foreachAbs([t(0)]) }
    add("_foreach_maximum_.List", 2) { t in Tensor.foreachMaximum_([t(0)], other: [t(1)]) }
    add("_foreach_clamp_min_.Scalar", 1) { t in Tensor.foreachClampMin_([t(0)], scalar: 1) }
    add("_foreach_norm.Scalar", 1) { t in _ = Tensor.foreachNorm([t(0)]) }
    add("_foreach_zero_", 1) { t in Tensor.foreachZero_([t(0)]) }
    add("_foreach_copy_", 2) { t in Tensor.foreachCopy_([t(0)], src: [t(1)]) }
    add("_amp_foreach_non_finite_check_and_unscale_", 3) { t in
      Tensor.ampForeachNonFiniteCheckAndUnscale_([t(0)], foundInf: t(1), invScale: t(2))
    }
    add("_chunk_cat", 1) { t in _ = Tensor.chunkCat([t(0)], dim: 1, numChunks: 1) }
  }
}
