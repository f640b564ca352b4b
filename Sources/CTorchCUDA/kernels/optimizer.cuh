R"cuda(
// One step of AdamW on fp32 numbers, with the arithmetic of libtorch's fused kernel; the gradient counts `gradient_scale`
// times. What was stepped is written in bf16 too, unless `low` is NULL.
extern "C" __global__ void adamw(
    float* __restrict__ weights, float* __restrict__ first, float* __restrict__ second, const float* __restrict__ gradients,
    bf16* __restrict__ low, long count, const float* __restrict__ step, double rate, double beta1, double beta2,
    double epsilon, double decay, double gradient_scale) {
  __shared__ double corrections[2];
  if (threadIdx.x == 0) {
    corrections[0] = 1 - pow(beta1, (double)*step);
    corrections[1] = sqrt(1 - pow(beta2, (double)*step));
  }
  __syncthreads();
  const float kept = 1 - rate * decay, scale = gradient_scale, b1 = beta1, b2 = beta2, eps = epsilon;
  const float size = rate / corrections[0], root = corrections[1];
  for (long i = blockIdx.x * (long)blockDim.x + threadIdx.x; i < (count + 3) / 4; i += (long)gridDim.x * blockDim.x) {
    const long start = i * 4;
    const int length = count - start < 4 ? count - start : 4;
    float w[4], m[4], v[4], g[4];
    if (length == 4) {
      *(float4*)w = *(const float4*)(weights + start);
      *(float4*)m = *(const float4*)(first + start);
      *(float4*)v = *(const float4*)(second + start);
      *(float4*)g = *(const float4*)(gradients + start);
    } else {
      for (int k = 0; k < length; ++k) {
        w[k] = weights[start + k]; m[k] = first[start + k]; v[k] = second[start + k]; g[k] = gradients[start + k];
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const float by = g[k] * scale;
      w[k] *= kept;
      m[k] += (1 - b1) * (by - m[k]);
      v[k] = b2 * v[k] + (1 - b2) * by * by;
      w[k] -= size * m[k] / (sqrtf(v[k]) / root + eps);
    }
    if (length == 4) {
      *(float4*)(weights + start) = *(float4*)w;
      *(float4*)(first + start) = *(float4*)m;
      *(float4*)(second + start) = *(float4*)v;
      if (low && (unsigned long)low % 8 != 0) {
        for (int k = 0; k < 4; ++k) low[start + k] = narrow(w[k]);
      } else if (low) {
        uint2 packed;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed.x) : "f"(w[1]), "f"(w[0]));
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed.y) : "f"(w[3]), "f"(w[2]));
        *(uint2*)(low + start) = packed;
      }
    } else {
      for (int k = 0; k < length; ++k) {
        weights[start + k] = w[k]; first[start + k] = m[k]; second[start + k] = v[k];
        if (low) low[start + k] = narrow(w[k]);
      }
    }
  }
}
)cuda"
