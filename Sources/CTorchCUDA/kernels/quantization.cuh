R"cuda(
// Numbers as e4m3, a scale for each tile. What follows does not begin early: it may fetch weights that are made here.
#ifdef SINGLE
typedef float number;
__device__ __forceinline__ float value(number x) { return x; }
__device__ __forceinline__ void load(const number* from, float* values) {
  *(float4*)values = *(const float4*)from;
  *(float4*)(values + 4) = *(const float4*)(from + 4);
}
#else
typedef bf16 number;
__device__ __forceinline__ float value(number x) { return wide(x); }
__device__ __forceinline__ void load(const number* from, float* values) { unpack(*(const Eight*)from, values); }
#endif

#ifdef VECTOR
#define STEP 8
#else
#define STEP 1
#endif

// Of a block's threads, for each of them.
__device__ __forceinline__ float largest_of_block(float own) {
  __shared__ float parts[32];
  own = largest_of_warp(own);
  if (blockDim.x == 32) return own;
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = own;
  __syncthreads();
  return largest_of_warp(threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0);
}

// The rows and columns of a block's tile.
struct Tile {
  long row;
  int rows, column, columns, steps;
  __device__ Tile(long all_rows, int all_columns, int height, int width) {
    row = blockIdx.x * (long)height;
    rows = all_rows - row < height ? all_rows - row : height;
    column = blockIdx.y * width;
    columns = all_columns - column < width ? all_columns - column : width;
    steps = columns / STEP;
  }
  __device__ float largest(const number* matrix, long stride) const {
    float own = 0;
    for (int i = threadIdx.x; i < rows * steps; i += blockDim.x) {
      const number* from = matrix + (row + i / steps) * stride + column + i % steps * STEP;
#ifdef VECTOR
      float numbers[8];
      load(from, numbers);
#pragma unroll
      for (int k = 0; k < 8; ++k) own = larger(own, fabsf(numbers[k]));
#else
      own = larger(own, fabsf(value(*from)));
#endif
    }
    return largest_of_block(own);
  }
};

// The largest of all numbers, whatever their signs. Its bits are in the order of numbers that are not negative.
extern "C" __global__ void largest_number(
    const number* __restrict__ matrix, long stride, long rows, int columns, int height, int width, int* __restrict__ result) {
  wait_for_earlier();
  const float own = Tile(rows, columns, height, width).largest(matrix, stride);
  if (threadIdx.x == 0) atomicMax(result, __float_as_int(own));
}

// A block a tile of `height` x `width`. `shared`: the largest of all numbers, where they have one scale; NULL: of each tile.
// Scales of the next row lie `row_step` further on, those of the next tile of a row `tile_step`.
extern "C" __global__ void quantize(
    const number* __restrict__ matrix, long stride, long rows, int columns, int height, int width,
    const float* __restrict__ shared, unsigned char* __restrict__ values, float* __restrict__ scales, long row_step,
    long tile_step) {
  wait_for_earlier();
  const Tile tile(rows, columns, height, width);
  const float largest = shared ? *shared : tile.largest(matrix, stride);
  const float factor = factor_for(largest);
  for (int i = threadIdx.x; i < tile.rows * tile.steps; i += blockDim.x) {
    const long row = tile.row + i / tile.steps;
    const int column = tile.column + i % tile.steps * STEP;
    const number* from = matrix + row * stride + column;
    unsigned char* to = values + row * columns + column;
#ifdef VECTOR
    float numbers[8];
    load(from, numbers);
    *(uint2*)to = eight(numbers, factor);
#else
    *to = two(__fmul_rn(value(*from), factor), 0);
#endif
  }
  for (int i = threadIdx.x; i < tile.rows; i += blockDim.x)
    scales[(tile.row + i) * row_step + blockIdx.y * tile_step] = __frcp_rn(factor);
}
)cuda"
