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

// A column's noise -log(-log(u)) is at most -log(1 - u): only where 1 - u <= exp(logit - the best score yet) can it win, and
// there the whole formula decides. The warp's best score is the one to beat.
extern "C" __global__ void __launch_bounds__(256) sample_parts(
    const bf16* __restrict__ logits, long stride, int columns, const float* __restrict__ temperatures,
    const uint64* __restrict__ keys, const unsigned char* __restrict__ is_greedy, Part* __restrict__ parts) {
  let_next_begin();
  wait_for_earlier();
  const int row = blockIdx.y;
  const float temperature = temperatures[row];
  const uint64 key = keys[row];
  const bool greedy = is_greedy[row];
  const bf16* own_logits = logits + row * stride;
  const bool by_eight = columns % 8 == 0 && stride % 8 == 0 && (unsigned long)own_logits % 16 == 0;
  Part own = {NOTHING, 0, NOTHING, 0, 0x7fffffff};
  float best = NOTHING, bound = -NOTHING;
  const int first = (blockIdx.x * blockDim.x + threadIdx.x) * 8, step = gridDim.x * blockDim.x * 8;
  for (int base = 0; base < columns; base += step) {
    const int start = base + first;
    Eight loaded;
    float eight[8];
    if (by_eight && start < columns) loaded = *(const Eight*)(own_logits + start);
    if (by_eight) unpack(loaded, eight);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int column = start + i;
      const bool is_here = column < columns;
      float logit = NOTHING;
      if (is_here) {
        logit = by_eight ? eight[i] : wide(own_logits[column]);
        if (temperature != 1) logit = __fdiv_rn(logit, temperature);
      }
      if (logit > own.most) {
        own.sum *= expf(own.most - logit);
        own.most = logit;
        bound = expf(own.most - best) * 1.001f;
      }
      const float share = logit == NOTHING ? 0.f : expf(logit - own.most);
      own.sum += share;
      const uint64 bits = mix(key + (uint64)(column + 1) * 0x9E3779B97F4A7C15ull);
      const float rest = (float)(int)(~bits >> 33) * 0x1p-31f;
      const bool may_win = is_here && (greedy ? logit > own.score : share * bound >= rest);
      if (!__any_sync(0xffffffffu, may_win)) continue;
      if (may_win) {
        float score = logit;
        if (!greedy) {
          const double uniform = (double)(long long)((bits >> 12) * 2 + 1) * 0x1p-53;
          score += (float)-log(-log(uniform));
        }
        if (score > own.score || (score == own.score && column < own.column)) {
          own.score = score;
          own.logit = logit;
          own.column = column;
        }
      }
      best = own.score;
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2) best = fmaxf(best, __shfl_xor_sync(0xffffffffu, best, offset));
      bound = expf(own.most - best) * 1.001f;
    }
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
    const Part* __restrict__ parts, int count, long* __restrict__ tokens, float2* __restrict__ scores_and_log_probs) {
  let_next_begin();
  wait_for_earlier();
  Part own = {NOTHING, 0, NOTHING, 0, 0x7fffffff};
  for (int i = threadIdx.x; i < count; i += 32) take(own, parts[(long)blockIdx.x * count + i]);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) take(own, from_lane(own, offset));
  if (threadIdx.x == 0) {
    tokens[blockIdx.x] = own.column == 0x7fffffff ? 0 : own.column;
    scores_and_log_probs[blockIdx.x] = {own.score, own.logit - own.most - logf(own.sum)};
  }
}
)cuda"
