R"cuda(
// output = x weightᵀ (+ bias) (+ residual) for few rows, in the very bits of cuBLASLt's kernels for many, and bound by the
// weight's bytes. What x is, a block finds for itself (invariant_rows.cuh). Each number is rounded where libtorch's operators do.
//
// A tensor core adds sixteen products to a sum at once. The bits of a sum depend on which sixteen are added together and on
// what was summed before. So each output's sum goes through the inputs from the first to the last, sixteen by sixteen, and is
// never divided: not among warps, and not into several sums of one warp. Each step waits for the one before it (24 clocks on
// an H100), and nothing else may hold it up: weights come through shared memory, many chunks ahead, and what a step multiplies
// is in registers four steps before.
//
// A block makes outputs that follow one another, its warps parts of them, in tiles of at most eight: as evenly as can be, since
// a tile of fewer takes as long but fewer bytes. Lines of a tile that are not there, or rows past the last, spoil only results
// that are not kept.
//
// SLOTS: chunks of a tile that each warp has in shared memory.
constexpr int TILE = 8, STEP = 16, HALF = 4, CHUNK = 2 * HALF * STEP;
constexpr int EIGHTS = CHUNK / 8;      // of a line of a chunk
constexpr int LINES = 32 / EIGHTS;     // of a chunk that a warp asks for at once
constexpr int ASKS = TILE / LINES;
static_assert(ASKS == HALF, "a warp asks for a part of a chunk in each step of another's second half");
constexpr int LINE_BYTES = CHUNK * 2 + APART, SLOT_BYTES = TILE * LINE_BYTES;

// A whole in parts that differ by one at most; the larger ones come first.
struct Parts {
  int least, larger;
  __device__ Parts(int whole, int parts) : least(whole / parts), larger(whole % parts) {}
  __device__ int begin(int part) const { return part * least + min(part, larger); }
  __device__ int count(int part) const { return least + (part < larger); }
};

// A warp's weights on their way to its slots: chunk after chunk, tile after tile.
struct Stream {
  Parts tiles;
  int count, chunks, inputs;   // tiles; chunks of each
  uint32 first_slot, slot;     // where this lane's part of a chunk goes
  const bf16* from;            // what this lane asks for first, of the next chunk
  int tile = 0, chunk = 0;     // the next one
  int lines;                   // of the tile, from this lane's first one on
  int columns;                 // of the line, from this lane's first one on
  uint64 policy;

  __device__ Stream(const bf16* weight, uint32 slots, Parts tiles, int count, int chunks, int inputs)
      : tiles(tiles), count(count), chunks(chunks), inputs(inputs) {
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    const int lane = threadIdx.x % 32, line = lane / EIGHTS, column = lane % EIGHTS * 8;
    first_slot = slot = slots + line * LINE_BYTES + column * 2;
    from = weight + (long)line * inputs + column;
    columns = inputs - column;
    lines = count > 0 ? tiles.count(0) - line : 0;
  }
  // One of the ASKS parts of the next chunk. Inputs past the last are zeros, which change no sum.
  __device__ __forceinline__ void ask(int part) const {
    if (part * LINES < lines)
      asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2, %3;"
                   :: "r"(slot + part * LINES * LINE_BYTES), "l"(from + (long)part * LINES * inputs), "r"(columns > 0 ? 16 : 0),
                      "l"(policy) : "memory");
  }
  // All parts of a chunk were asked for.
  __device__ __forceinline__ void next() {
    asm volatile("cp.async.commit_group;" ::: "memory");
    slot = slot + SLOT_BYTES < first_slot + SLOTS * SLOT_BYTES ? slot + SLOT_BYTES : first_slot;
    from += CHUNK;
    columns -= CHUNK;
    if (++chunk < chunks) return;
    from += (long)tiles.count(tile) * inputs - chunks * CHUNK;
    columns += chunks * CHUNK;
    chunk = 0;
    ++tile;
    lines = tile < count ? tiles.count(tile) - threadIdx.x % 32 / EIGHTS : 0;
  }
};

// The warp's chunks are there, but for the last ones that it asked for.
template <int LAST>
__device__ __forceinline__ void wait_for_chunks() {
  asm volatile("cp.async.wait_group %0;" ::"n"(LAST) : "memory");
  __syncwarp();
}

// Four matrices of eight lines of eight numbers, of which each lane says where a line lies: of each, lane 4 r + c gets the
// numbers 2 c and 2 c + 1 of line r.
__device__ __forceinline__ uint4 matrices(uint32 line) {
  uint4 words;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w) : "r"(line) : "memory");
  return words;
}

// What is multiplied in half a chunk's steps, in registers.
struct Factors {
  uint4 x[HALF], weights[HALF / 2];  // weights of two steps together
  __device__ __forceinline__ void load(uint32 row, uint32 line) {
#pragma unroll
    for (int step = 0; step < HALF; ++step) {
      x[step] = matrices(row + step * STEP * 2);
      if (step % 2 == 0) weights[step / 2] = matrices(line + step * STEP * 2);
    }
  }
  __device__ __forceinline__ void add_products(float (&sums)[4], int step) const {
    const uint4 &rows = x[step], &lines = weights[step / 2];
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.x), "r"(rows.y), "r"(rows.z), "r"(rows.w), "r"(step % 2 ? lines.z : lines.x),
          "r"(step % 2 ? lines.w : lines.y));
  }
};

// `rows`: at most 16. `warps`: of a block, that make outputs. Shared memory: their slots, and the rows of x.
extern "C" __global__ void __launch_bounds__(THREADS, 2) invariant_products(
    const bf16* input, const bf16* norm, float epsilon, const bf16* __restrict__ weight,
    const bf16* __restrict__ bias, const bf16* residual, bf16* __restrict__ output, int rows, int inputs, int outputs,
    int warps) {
  let_next_begin();
  extern __shared__ __align__(128) unsigned char shared[];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, chunks = (inputs + CHUNK - 1) / CHUNK;
  const Parts of_grid(outputs, gridDim.x), of_block(of_grid.count(blockIdx.x), warps);
  const int count = warp < warps ? of_block.count(warp) : 0, tiles = (count + TILE - 1) / TILE;
  const Parts of_warp(count, max(tiles, 1));
  int first = of_grid.begin(blockIdx.x) + of_block.begin(warp);  // output of the tile
  const uint32 slots = shared_address(shared) + warp * SLOTS * SLOT_BYTES;
  const X x(shared + warps * SLOTS * SLOT_BYTES, chunks * EIGHTS);

  // Weights depend on nothing earlier.
  Stream stream(weight + (long)first * inputs, slots, of_warp, tiles, chunks, inputs);
#pragma unroll 1
  for (int slot = 0; slot < SLOTS; ++slot) {
#pragma unroll
    for (int part = 0; part < ASKS; ++part) stream.ask(part);
    stream.next();
  }
  const Rows found(norm, inputs);
  wait_for_earlier();
  found.find(x, input, rows, inputs, epsilon);
  __syncthreads();
  if (tiles == 0) return;

  // Rows past the last are the last again.
  const uint32 row = shared_address(x.bytes) + min(lane % 16, rows - 1) * x.row_bytes() + lane / 16 * 16;
  const uint32 line = slots + lane % 8 * LINE_BYTES + lane / 8 * 16;
  uint32 of_x = row, of_weight = line;  // the chunk at hand
  Factors now, later;                   // the halves of a chunk
  wait_for_chunks<SLOTS - 1>();
  now.load(of_x, of_weight);
  for (int tile = 0; tile < tiles; ++tile) {
    // A lane's four results: of two rows two outputs each.
    const int lines = of_warp.count(tile);
    auto row_of = [&](int i) { return lane / 4 + i / 2 * 8; };
    auto output_of = [&](int i) { return lane % 4 * 2 + i % 2; };
    auto is_there = [&](int i) { return row_of(i) < rows && output_of(i) < lines; };
    auto place = [&](int i) { return (long)row_of(i) * outputs + first + output_of(i); };
    bf16 added[4], biases[2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (residual && is_there(i)) added[i] = residual[place(i)];
      if (i < 2 && bias && output_of(i) < lines) biases[i] = bias[first + output_of(i)];
    }
    float sums[4] = {};
    for (int chunk = 1; chunk <= chunks; ++chunk) {
      later.load(of_x + HALF * STEP * 2, of_weight + HALF * STEP * 2);
#pragma unroll
      for (int step = 0; step < HALF; ++step) now.add_products(sums, step);
      // On to the next chunk; after the last, what is loaded is of no use. This one is in registers, and leaves room for another.
      of_x = chunk < chunks ? of_x + CHUNK * 2 : row;
      of_weight = of_weight + SLOT_BYTES < line + SLOTS * SLOT_BYTES ? of_weight + SLOT_BYTES : line;
      wait_for_chunks<SLOTS - 2>();
      now.load(of_x, of_weight);
#pragma unroll
      for (int step = 0; step < HALF; ++step) {
        later.add_products(sums, step);
        stream.ask(step);
      }
      stream.next();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!is_there(i)) continue;
      float sum = sums[i];
      if (bias) sum = rounded(sum) + wide(biases[i % 2]);
      if (residual) sum = rounded(sum) + wide(added[i]);
      output[place(i)] = narrow(sum);
    }
    first += lines;
  }
}
)cuda"
