R"cuda(
// Samples each row of logits by the largest of logit / temperature + Gumbel noise, and gives its log-probability: the
// numbers of `SamplingNoise`. A row is split over blocks; `choose` puts their parts together.
__device__ __forceinline__ uint64 mix(uint64 z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

struct Part { float score, logit, most, sum; int column; };

__device__ __forceinline__ void take(Part& a, const Part& b) {
  if (b.score > a.score || (b.score == a.score && b.column < a.column)) {
    a.score = b.score;
    a.logit = b.logit;
    a.column = b.column;
  }
  const float most = fmaxf(a.most, b.most), floor = most == NOTHING ? 0 : most;
  a.sum = a.sum * expf(a.most - floor) + b.sum * expf(b.most - floor);
  a.most = most;
}

__device__ __forceinline__ Part from_lane(const Part& part, int offset) {
  Part other;
  other.score = __shfl_xor_sync(0xffffffffu, part.score, offset);
  other.logit = __shfl_xor_sync(0xffffffffu, part.logit, offset);
  other.most = __shfl_xor_sync(0xffffffffu, part.most, offset);
  other.sum = __shfl_xor_sync(0xffffffffu, part.sum, offset);
  other.column = __shfl_xor_sync(0xffffffffu, part.column, offset);
  return other;
}

extern "C" __global__ void __launch_bounds__(256) sample_parts(
    const bf16* __restrict__ logits, long stride, int columns, const float* __restrict__ temperatures,
    const uint64* __restrict__ keys, const unsigned char* __restrict__ is_greedy, Part* __restrict__ parts) {
  const int row = blockIdx.y;
  const float temperature = temperatures[row];
  const uint64 key = keys[row];
  const bool greedy = is_greedy[row];
  Part own = {NOTHING, 0, NOTHING, 0, 0x7fffffff};
  for (int column = blockIdx.x * blockDim.x + threadIdx.x; column < columns; column += gridDim.x * blockDim.x) {
    const float logit = __fdiv_rn(wide(logits[row * stride + column]), temperature);
    float score = logit;
    if (!greedy) {
      const uint64 bits = mix(key + (uint64)(column + 1) * 0x9E3779B97F4A7C15ull);
      const double uniform = (double)(long long)((bits >> 12) * 2 + 1) * 0x1p-53;
      score += (float)-log(-log(uniform));
    }
    take(own, {score, logit, logit, logit == NOTHING ? 0.f : 1.f, column});
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) take(own, from_lane(own, offset));
  __shared__ Part shared[8];
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < 8; ++i) take(own, shared[i]);
    parts[(long)row * gridDim.x + blockIdx.x] = own;
  }
}

extern "C" __global__ void choose(
    const Part* __restrict__ parts, int count, long* __restrict__ tokens, float* __restrict__ scores,
    float* __restrict__ log_probs) {
  Part own = {NOTHING, 0, NOTHING, 0, 0x7fffffff};
  for (int i = threadIdx.x; i < count; i += 32) take(own, parts[(long)blockIdx.x * count + i]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) take(own, from_lane(own, offset));
  if (threadIdx.x == 0) {
    tokens[blockIdx.x] = own.column == 0x7fffffff ? 0 : own.column;
    scores[blockIdx.x] = own.score;
    log_probs[blockIdx.x] = own.logit - own.most - logf(own.sum);
  }
}
)cuda"
