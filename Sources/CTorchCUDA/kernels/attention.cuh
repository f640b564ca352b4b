R"cuda(
// Paged decode attention: one query token a row, its context split over blocks (flash decoding, Dao et al., 2023).
// HEAD: dimension of a head. QUERIES: query heads that a block serves, all of one key-value head.
constexpr int LANES = HEAD / 8;         // lanes that share a token, 16 bytes each
constexpr int TOKENS = 32 / LANES;      // tokens that a warp looks at at once
constexpr int WARPS = 4;
constexpr int AHEAD = 4;                // loads in flight
constexpr int STEP = WARPS * TOKENS * AHEAD;

extern "C" __global__ void __launch_bounds__(WARPS * 32) decode_attention(
    const bf16* __restrict__ queries, long query_stride, const bf16* __restrict__ keys, const bf16* __restrict__ values,
    const int* __restrict__ pages, int pages_stride, const int* __restrict__ lengths, const int* __restrict__ order,
    float* __restrict__ parts, bf16* __restrict__ output, float scale, int page_size, int key_value_heads, int group) {
  const int blocks_per_group = (group + QUERIES - 1) / QUERIES;
  const int key_value_head = blockIdx.x / blocks_per_group;
  const int first_head = key_value_head * group + blockIdx.x % blocks_per_group * QUERIES;
  const int heads = key_value_heads * group;
  const int count = min(QUERIES, group - blockIdx.x % blocks_per_group * QUERIES);
  // Blocks begin in the order of their numbers: the longest contexts first.
  const int row = order[blockIdx.y], split = blockIdx.z, splits = gridDim.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, place = lane / LANES, offset = lane % LANES * 8;

  const int length = lengths[row];
  const int share = ((length + splits - 1) / splits + STEP - 1) / STEP * STEP;
  const int begin = split * share, end = min(length, begin + share);

  float query[QUERIES][8], sums[QUERIES][8], most[QUERIES], weight[QUERIES];
#pragma unroll
  for (int g = 0; g < QUERIES; ++g) {
    most[g] = NOTHING;
    weight[g] = 0;
    if (g < count) {
      unpack(*(const Eight*)(queries + row * query_stride + (first_head + g) * HEAD + offset), query[g]);
    } else {
#pragma unroll
      for (int i = 0; i < 8; ++i) query[g][i] = 0;
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      query[g][i] *= scale * 1.4426950408889634f;
      sums[g][i] = 0;
    }
  }
  const long token_stride = (long)key_value_heads * HEAD;
  const long head_offset = (long)key_value_head * HEAD + offset;
  const int* table = pages + (long)row * pages_stride;

  for (int base = begin + warp * TOKENS * AHEAD; base < end; base += STEP) {
    Eight key[AHEAD], value[AHEAD];
    bool is_here[AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; ++u) {
      const int token = base + u * TOKENS + place;
      is_here[u] = token < end;
      const int safe = is_here[u] ? token : begin;
      const long at = ((long)table[safe / page_size] * page_size + safe % page_size) * token_stride + head_offset;
      key[u] = *(const Eight*)(keys + at);
      value[u] = *(const Eight*)(values + at);
    }
    float scores[QUERIES][AHEAD];
#pragma unroll
    for (int u = 0; u < AHEAD; ++u) {
      float wide_key[8];
      unpack(key[u], wide_key);
#pragma unroll
      for (int g = 0; g < QUERIES; ++g) {
        float dot = 0;
#pragma unroll
        for (int i = 0; i < 8; ++i) dot += query[g][i] * wide_key[i];
#pragma unroll
        for (int o = LANES / 2; o > 0; o /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, o);
        scores[g][u] = is_here[u] ? dot : NOTHING;
      }
    }
    float kept[QUERIES];
#pragma unroll
    for (int g = 0; g < QUERIES; ++g) {
      float next = most[g];
#pragma unroll
      for (int u = 0; u < AHEAD; ++u) next = fmaxf(next, scores[g][u]);
      const float floor = next == NOTHING ? 0 : next;
      kept[g] = exp2f(most[g] - floor);
      most[g] = next;
      weight[g] *= kept[g];
#pragma unroll
      for (int u = 0; u < AHEAD; ++u) {
        scores[g][u] = exp2f(scores[g][u] - floor);
        weight[g] += scores[g][u];
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[g][i] *= kept[g];
    }
#pragma unroll
    for (int u = 0; u < AHEAD; ++u) {
      float wide_value[8];
      unpack(value[u], wide_value);
#pragma unroll
      for (int g = 0; g < QUERIES; ++g)
#pragma unroll
        for (int i = 0; i < 8; ++i) sums[g][i] += scores[g][u] * wide_value[i];
    }
  }

  // The lanes with the same offset hold parts of the same sums.
#pragma unroll
  for (int g = 0; g < QUERIES; ++g) {
#pragma unroll
    for (int o = LANES; o < 32; o *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, most[g], o);
      const float all = fmaxf(most[g], other), floor = all == NOTHING ? 0 : all;
      const float own_share = exp2f(most[g] - floor), other_share = exp2f(other - floor);
      weight[g] = weight[g] * own_share + __shfl_xor_sync(0xffffffffu, weight[g], o) * other_share;
#pragma unroll
      for (int i = 0; i < 8; ++i)
        sums[g][i] = sums[g][i] * own_share + __shfl_xor_sync(0xffffffffu, sums[g][i], o) * other_share;
      most[g] = all;
    }
  }
  __shared__ float shared_sums[WARPS][QUERIES][HEAD], shared_most[WARPS][QUERIES], shared_weight[WARPS][QUERIES];
  if (place == 0) {
#pragma unroll
    for (int g = 0; g < QUERIES; ++g) {
#pragma unroll
      for (int i = 0; i < 8; ++i) shared_sums[warp][g][offset + i] = sums[g][i];
      if (lane == 0) {
        shared_most[warp][g] = most[g];
        shared_weight[warp][g] = weight[g];
      }
    }
  }
  __syncthreads();
  for (int index = threadIdx.x; index < count * HEAD; index += WARPS * 32) {
    const int g = index / HEAD, d = index % HEAD;
    float all = NOTHING;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) all = fmaxf(all, shared_most[w][g]);
    const float floor = all == NOTHING ? 0 : all;
    float total = 0, sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      const float share = exp2f(shared_most[w][g] - floor);
      total += shared_weight[w][g] * share;
      sum += shared_sums[w][g][d] * share;
    }
    const long head = (long)row * heads + first_head + g;
    if (splits == 1) {
      output[head * HEAD + d] = narrow(total > 0 ? sum / total : 0);
    } else {
      float* part = parts + (head * splits + split) * (HEAD + 2);
      part[d] = sum;
      if (d == 0) {
        part[HEAD] = all;
        part[HEAD + 1] = total;
      }
    }
  }
}

// The parts of the splits put together; one block a row and head, a thread a dimension. At most 32 splits.
extern "C" __global__ void merge_splits(
    const float* __restrict__ parts, const int* __restrict__ lengths, bf16* __restrict__ output, int splits, int heads) {
  const int length = lengths[blockIdx.x / heads];
  const int share = max(STEP, ((length + splits - 1) / splits + STEP - 1) / STEP * STEP);
  const int used = (length + share - 1) / share;
  const float* own = parts + (long)blockIdx.x * splits * (HEAD + 2);
  const int lane = threadIdx.x % 32;
  // Each warp finds the shares for itself.
  const float most = lane < used ? own[lane * (HEAD + 2) + HEAD] : NOTHING;
  const float weight = lane < used ? own[lane * (HEAD + 2) + HEAD + 1] : 0;
  float all = most;
#pragma unroll
  for (int o = 16; o > 0; o /= 2) all = fmaxf(all, __shfl_xor_sync(0xffffffffu, all, o));
  const float scale = all == NOTHING ? 0 : exp2f(most - all);
  const float total = sum_of_warp(weight * scale);
  float sum = 0;
#pragma unroll 8
  for (int s = 0; s < used; ++s)
    sum += own[s * (HEAD + 2) + threadIdx.x] * __shfl_sync(0xffffffffu, scale, s);
  output[(long)blockIdx.x * HEAD + threadIdx.x] = narrow(total > 0 ? sum / total : 0);
}
)cuda"
