R"cuda(
// Numbers as e4m3, a scale for each tile, with the arithmetic of libtorch's operators.
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

// The larger one; none is where either is none.
__device__ __forceinline__ float larger(float a, float b) {
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
}

__device__ __forceinline__ float largest_of_warp(float own) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) own = larger(own, __shfl_xor_sync(0xffffffffu, own, offset));
  return own;
}

// Of a block's threads, for each of them.
__device__ __forceinline__ float largest_of_block(float own) {
  __shared__ float parts[32];
  own = largest_of_warp(own);
  if (blockDim.x == 32) return own;
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = own;
  __syncthreads();
  return largest_of_warp(threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0);
}

__device__ __forceinline__ unsigned short two(float low, float high) {
  unsigned short result;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(result) : "f"(high), "f"(low));
  return result;
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
  const float own = Tile(rows, columns, height, width).largest(matrix, stride);
  if (threadIdx.x == 0) atomicMax(result, __float_as_int(own));
}

// A block a tile of `height` x `width`. `shared`: the largest of all numbers, where they have one scale; NULL: of each tile.
extern "C" __global__ void quantize(
    const number* __restrict__ matrix, long stride, long rows, int columns, int height, int width,
    const float* __restrict__ shared, unsigned char* __restrict__ values, float* __restrict__ scales) {
  const Tile tile(rows, columns, height, width);
  const float largest = shared ? *shared : tile.largest(matrix, stride);
  const float factor = largest < 1e-30f ? 1 : __fmul_rn(__frcp_rn(largest), 448);
  for (int i = threadIdx.x; i < tile.rows * tile.steps; i += blockDim.x) {
    const long row = tile.row + i / tile.steps;
    const int column = tile.column + i % tile.steps * STEP;
    const number* from = matrix + row * stride + column;
    unsigned char* to = values + row * columns + column;
#ifdef VECTOR
    float numbers[8];
    load(from, numbers);
    ushort4 packed;
    packed.x = two(__fmul_rn(numbers[0], factor), __fmul_rn(numbers[1], factor));
    packed.y = two(__fmul_rn(numbers[2], factor), __fmul_rn(numbers[3], factor));
    packed.z = two(__fmul_rn(numbers[4], factor), __fmul_rn(numbers[5], factor));
    packed.w = two(__fmul_rn(numbers[6], factor), __fmul_rn(numbers[7], factor));
    *(ushort4*)to = packed;
#else
    *to = two(__fmul_rn(value(*from), factor), 0);
#endif
  }
  for (int i = threadIdx.x; i < tile.rows; i += blockDim.x) scales[(tile.row + i) * gridDim.y + blockIdx.y] = __frcp_rn(factor);
}
)cuda"
