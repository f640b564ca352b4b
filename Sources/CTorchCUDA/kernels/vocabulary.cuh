R"cuda(
// The largest z of a row so far, Σ e^(z - largest) and Σ e^(z - largest) (z - largest).
struct Row { float most, sum, weighted; };

__device__ __forceinline__ void raise_most(Row& row, float most) {
  if (most <= row.most) return;
  const float fall = row.most - most;
  if (row.sum > 0) {
    const float factor = expf(fall);
    row.weighted = factor * (row.weighted + fall * row.sum);
    row.sum *= factor;
  }
  row.most = most;
}

__device__ __forceinline__ void take(Row& row, float z) {
  const float below = z - row.most, part = __expf(below);
  row.sum += part;
  row.weighted += part * below;
}

__device__ __forceinline__ void merge(Row& row, Row other) {
  if (other.sum == 0) return;
  raise_most(row, other.most);
  raise_most(other, row.most);
  row.sum += other.sum;
  row.weighted += other.weighted;
}

__device__ __forceinline__ void merge_warp(Row& row) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    Row other;
    other.most = __shfl_xor_sync(0xffffffffu, row.most, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, row.sum, offset);
    other.weighted = __shfl_xor_sync(0xffffffffu, row.weighted, offset);
    merge(row, other);
  }
}

__device__ __forceinline__ void load_eight(const bf16* at, float* values) { unpack(*(const Eight*)at, values); }
__device__ __forceinline__ void load_eight(const float* at, float* values) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) *(float4*)(values + i) = *(const float4*)(at + i);
}
__device__ __forceinline__ float wide(float value) { return value; }

// Divided as an engine divides its logits: to the same bits.
__device__ __forceinline__ float over(float logit, float temperature) {
  return temperature == 1 ? logit : __fdiv_rn(logit, temperature);
}

// Of each row of logits over the temperature (its own where there are `temperatures`), z: the largest,
// Σ e^(z - largest), Σ e^(z - largest) (z - largest), and the target's z (0 where it is not among the columns). A block a row,
// so that a row's numbers do not depend on others; `results` is [4, rows].
template <class Number>
__device__ __forceinline__ void statistics_of_row(
    const Number* __restrict__ logits, int columns, const long* __restrict__ targets, float temperature,
    const float* __restrict__ temperatures, float* __restrict__ results, int rows) {
  const long row = blockIdx.x;
  const Number* own = logits + row * columns;
  if (temperatures) temperature = temperatures[row];
  Row found = {NOTHING, 0, 0};
  // Rows of another length do not begin where sixteen bytes can be read.
  const int even = columns % 8 == 0 ? columns : 0;
  // Two loads on their way at a time.
  for (int i = threadIdx.x * 8; i < even; i += blockDim.x * 16) {
    const int next = i + blockDim.x * 8;
    float z[16];
    load_eight(own + i, z);
    if (next < even) load_eight(own + next, z + 8);
    float most = NOTHING;
#pragma unroll
    for (int k = 0; k < 16; ++k)
      if (k < 8 || next < even) most = fmaxf(most, z[k] = over(z[k], temperature));
    raise_most(found, most);
#pragma unroll
    for (int k = 0; k < 16; ++k)
      if (k < 8 || next < even) take(found, z[k]);
  }
  for (int i = even + threadIdx.x; i < columns; i += blockDim.x) {
    const float z = over(wide(own[i]), temperature);
    raise_most(found, z);
    take(found, z);
  }
  __shared__ Row parts[32];
  merge_warp(found);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = found;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  Row nothing = {NOTHING, 0, 0};
  found = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : nothing;
  merge_warp(found);
  if (threadIdx.x == 0) {
    const long target = targets[row];
    results[row] = found.most;
    results[rows + row] = found.sum;
    results[2 * rows + row] = found.weighted;
    results[3 * rows + row] = target >= 0 && target < columns ? over(wide(own[target]), temperature) : 0;
  }
}

extern "C" __global__ void row_statistics(
    const bf16* __restrict__ logits, int columns, const long* __restrict__ targets, float temperature,
    const float* __restrict__ temperatures, float* __restrict__ results, int rows) {
  statistics_of_row(logits, columns, targets, temperature, temperatures, results, rows);
}

extern "C" __global__ void row_statistics_of_floats(
    const float* __restrict__ logits, int columns, const long* __restrict__ targets, float temperature,
    const float* __restrict__ temperatures, float* __restrict__ results, int rows) {
  statistics_of_row(logits, columns, targets, temperature, temperatures, results, rows);
}

// Puts the gradients by logits in their place: of the targets' log-probabilities and, unless `by_entropy` is NULL, of the
// entropies. A block a row.
extern "C" __global__ void logits_gradient(
    bf16* __restrict__ logits, int columns, const long* __restrict__ targets, float inverse_temperature,
    const float* __restrict__ log_sums, const float* __restrict__ entropies, const float* __restrict__ by_log_prob,
    const float* __restrict__ by_entropy) {
  const long row = blockIdx.x;
  bf16* own = logits + row * columns;
  const float log_sum = log_sums[row], entropy = entropies[row];
  const float first = by_log_prob[row] * inverse_temperature, second = by_entropy ? by_entropy[row] * inverse_temperature : 0;
  // Targets elsewhere are no column.
  const long target = targets[row];
  const int wanted = target >= 0 && target < columns ? target : -1;
  auto gradient = [&](float logit, int column) {
    const float log_p = logit * inverse_temperature - log_sum;
    return (column == wanted ? first : 0) - __expf(log_p) * (first + second * (log_p + entropy));
  };
  const int even = columns % 8 == 0 ? columns : 0;
  for (int i = threadIdx.x * 8; i < even; i += blockDim.x * 16) {
    // Two loads on their way at a time.
    const int places[2] = {i, i + (int)blockDim.x * 8};
    Eight loaded[2];
#pragma unroll
    for (int u = 0; u < 2; ++u)
      if (places[u] < even) loaded[u] = *(const Eight*)(own + places[u]);
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      if (places[u] >= even) continue;
      float z[8];
      unpack(loaded[u], z);
#pragma unroll
      for (int k = 0; k < 8; ++k) z[k] = gradient(z[k], places[u] + k);
      *(Eight*)(own + places[u]) = pack(z);
    }
  }
  for (int i = even + threadIdx.x; i < columns; i += blockDim.x) own[i] = narrow(gradient(wide(own[i]), i));
}

// Adds rows to rows of `sums`: `indices` says to which, in order, and `places` where each stands in `rows`. A block for each
// place; the first of equal indices adds up all of them, in fp32.
#ifdef SUM
__device__ __forceinline__ void store_eight(bf16* to, const float* values) { *(Eight*)to = pack(values); }
__device__ __forceinline__ void store_eight(float* to, const float* values) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) *(float4*)(to + i) = *(const float4*)(values + i);
}

extern "C" __global__ void add_rows(
    const bf16* __restrict__ rows, const long* __restrict__ indices, const long* __restrict__ places, SUM* __restrict__ sums,
    int width, int count) {
  const int first = blockIdx.x;
  const long index = indices[first];
  if (first > 0 && indices[first - 1] == index) return;
  int end = first + 1;
  while (end < count && indices[end] == index) ++end;
  for (int i = threadIdx.x * 8; i < width; i += blockDim.x * 8) {
    float total[8];
    load_eight(sums + index * width + i, total);
#pragma unroll 4
    for (int p = first; p < end; ++p) {
      float row[8];
      load_eight(rows + places[p] * width + i, row);
#pragma unroll
      for (int k = 0; k < 8; ++k) total[k] += row[k];
    }
    store_eight(sums + index * width + i, total);
  }
}
#endif
)cuda"
