R"cuda(
// Paged decode attention: one query token a row, its context split over blocks (flash decoding, Dao et al., 2023), products
// by tensor cores, so that memory alone decides how long it takes.
// HEAD: dimension of a head. A block serves up to eight query heads, all of one key-value head.
constexpr int QUERIES = 8;
constexpr int WARPS = 4;
constexpr int STEP = WARPS * TILE;

extern "C" __global__ void __launch_bounds__(WARPS * 32) decode_attention(
    const bf16* __restrict__ queries, long query_stride, const bf16* __restrict__ new_keys, long new_key_stride,
    const bf16* __restrict__ new_values, long new_value_stride, bf16* keys, bf16* values, const int* __restrict__ pages,
    int pages_stride, const int* __restrict__ lengths, const int* __restrict__ order, float* __restrict__ parts,
    bf16* __restrict__ output, float scale, int page_size, int key_value_heads, int group) {
  let_next_begin();
  const int blocks_per_group = (group + QUERIES - 1) / QUERIES;
  const int key_value_head = blockIdx.x / blocks_per_group;
  const int first_head = key_value_head * group + blockIdx.x % blocks_per_group * QUERIES;
  const int heads = key_value_heads * group;
  const int count = min(QUERIES, group - blockIdx.x % blocks_per_group * QUERIES);
  // Blocks begin in the order of their numbers: the longest contexts first.
  const int row = order[blockIdx.y], split = blockIdx.z, splits = gridDim.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, r = lane / 4, c = lane % 4;

  const int length = lengths[row];
  const int share = ((length + splits - 1) / splits + STEP - 1) / STEP * STEP;
  const int begin = split * share, end = min(length, begin + share);

  TileSums sums;
  const float log_scale = scale * 1.4426950408889634f;
  const long token_stride = (long)key_value_heads * HEAD;
  const long head_offset = (long)key_value_head * HEAD;
  const int* table = pages + (long)row * pages_stride;
  const Context context = {keys, values, table, page_size, token_stride, head_offset};
  Eight key[2][HEAD / 32], value[4][HEAD / 64];
  // All but the last token of a context, and where it lies, was there before this step.
  int base = begin + warp * TILE;
  bool is_loaded = base < end && base + TILE < length;
  if (is_loaded) load_tile(context, base, end, r, c, key, value);
  wait_for_earlier();
  if (new_keys && begin < end && end == length)
    write_last(new_keys + row * new_key_stride, new_values + row * new_value_stride, keys, values, table, length, page_size,
               key_value_head, key_value_heads);
  uint32 query[PRODUCTS][2];
#pragma unroll
  for (int i = 0; i < HEAD / 32; ++i) {
    Eight eight = {};
    if (r < count) eight = *(const Eight*)(queries + row * query_stride + (first_head + r) * HEAD + i * 32 + c * 8);
#pragma unroll
    for (int w = 0; w < 4; ++w) query[2 * i + w / 2][w % 2] = eight.words[w];
  }

  for (; base < end; base += STEP) {
    if (!is_loaded) load_tile(context, base, end, r, c, key, value);
    is_loaded = false;
    sums.add(query, key, value, base, end, log_scale, c);
  }
  __shared__ HeadSums<WARPS, QUERIES> joined;
  sums.keep(joined, count, warp, r, c);
  __syncthreads();
  for (int index = threadIdx.x; index < count * HEAD; index += WARPS * 32) {
    const int g = index / HEAD, d = index % HEAD;
    float all, total, sum[1];
    joined.join(g, d, all, total, sum);
    const long head = (long)row * heads + first_head + g;
    if (splits == 1) {
      output[head * HEAD + d] = narrow(total > 0 ? sum[0] / total : 0);
    } else {
      float* part = parts + (head * splits + split) * (HEAD + 2);
      part[d] = sum[0];
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
  let_next_begin();
  wait_for_earlier();
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
