// All layers of a dense model for the rows of a small batch that decodes, by one kernel.
#include "kernel_library.h"

static const char* const source =
#include "kernels/attention_tiles.cuh"
#include "kernels/float8.cuh"
#include "kernels/few_rows_words.cuh"
#include "kernels/few_rows_stream.cuh"
#include "kernels/few_rows_products.cuh"
#include "kernels/few_rows_attention.cuh"
#include "kernels/few_rows_layers.cuh"
    ;

namespace {

constexpr int tensors_of_layer = 18;
/// More take a product's kernel of its own less time.
constexpr int most_rows = 4, most_float8_rows = 2;
/// Of a block: those that multiply, and those that load.
constexpr int warps = 8, loading_warps = 4;
/// Of a weight, that one load brings a lane; and so many of them has a lane of a row, at most.
constexpr int piece_bytes = 16, most_pieces = 5;
/// Of what all blocks tell each other: with fewer or more they wait longer.
constexpr int copies = 4;
/// A warp multiplies four parts of rows at once, while others are loaded.
constexpr int least_slots = 6;

/// Numbers that a layer's attention gives, and its queries, keys and values.
int attended(const ct_dense_layers& shape) { return shape.heads * shape.head; }
int projected(const ct_dense_layers& shape) { return attended(shape) + 2 * shape.key_value_heads * shape.head; }
/// Of a weight's piece.
int numbers(const ct_dense_layers& shape) { return shape.is_float8 ? piece_bytes : piece_bytes / 2; }

/// How the kernel divides a model's layers for so many rows.
struct Division {
  int blocks, splits, chunk = 0, slots, room, shared_bytes;
  /// Warps that share a row: of the weight of queries, keys and values, the output's, gate and up, down.
  int cuts[4];

  Division(const ct_dense_layers& shape, int rows, const cudaDeviceProp& device) {
    int heads = attended(shape), all_heads = projected(shape);
    // Each makes a pair of numbers of each product, at least.
    blocks = std::min({device.multiProcessorCount, shape.hidden / 2, shape.inner / 2, all_heads / 2});
    splits = std::clamp(blocks / (rows * shape.key_value_heads), 1, 32);
    int products[4][2] = {{shape.hidden, all_heads}, {heads, shape.hidden}, {shape.hidden, 2 * shape.inner},
                          {shape.inner, shape.hidden}};
    for (int i = 0; i < 4; ++i) {
      int pieces = products[i][0] / numbers(shape);
      cuts[i] = cuts_of(pieces, products[i][1]);
      chunk = std::max(chunk, (pieces + cuts[i] - 1) / cuts[i]);
    }
    // The rows that are multiplied, and sums, queries, the new key and value of attention.
    int attention = warps * 8 * (shape.head + 2) * 4 + 10 * shape.head * 2;
    room = std::max(rows * std::max({shape.hidden, heads, shape.inner}) * 2, attention);
    room = (room + 127) / 128 * 128;
    // What the kernel declares by itself: sums of the products, the block's hidden states, scales, and little else.
    auto most_own = [&](int made) { return 2 * (made / 2 / blocks + 1); };
    int sums = std::max({most_own(all_heads) * cuts[0], most_own(shape.hidden) * std::max(cuts[1], cuts[3]),
                         2 * most_own(shape.inner) * cuts[2]});
    int scales = 2 * std::max({most_own(all_heads), most_own(shape.hidden), 2 * most_own(shape.inner)});
    int rest = (rows * (sums + most_own(shape.hidden)) + (shape.is_float8 ? scales : 0)) * 4 + (4 << 10);
    int layers = shape.layers * tensors_of_layer * 8, slot_bytes = warps * chunk * piece_bytes;
    slots = std::min(16, ((int)device.sharedMemPerBlockOptin - rest - layers - room) / slot_bytes);
    shared_bytes = slots * slot_bytes + room + layers;
  }

 private:
  /// Of those after which a lane has few pieces of a row, or else the fewest, what leaves each warp the least to load.
  int cuts_of(int pieces, int outputs) const {
    int own = (outputs + blocks - 1) / blocks, best = warps, least = INT32_MAX;
    for (int cuts = 1; cuts <= warps; cuts *= 2) {
      int rounds = (own * cuts + warps - 1) / warps, part = (pieces + cuts - 1) / cuts, work = rounds * ((part + 31) / 32);
      if (part <= most_pieces * 32 && work < least) std::tie(best, least) = std::pair(cuts, work);
    }
    return best;
  }
};

const cudaDeviceProp& properties() { return *at::cuda::getCurrentDeviceProperties(); }

/// 64-bit words of a workspace, as the kernel's `Words` and what stands before them.
int64_t words(const ct_dense_layers& shape, int rows) {
  int64_t splits = Division(shape, rows, properties()).splits;
  int64_t heard = copies * (attended(shape) + shape.hidden + shape.inner + shape.hidden);
  return 2 + rows * ((heard + projected(shape)) / 2 + shape.heads * splits * (shape.head + 2));
}

}  // namespace

namespace ctorch {

int32_t few_rows_of_layers(ct_dense_layers shape, int32_t device_index) {
  return guarded<>(int32_t(0), [&] {
    c10::cuda::CUDAGuard guard(device_index);
    bool fits = properties().major == 9 && shape.hidden % numbers(shape) == 0 && shape.inner % numbers(shape) == 0 &&
                attended(shape) % numbers(shape) == 0 && shape.layers > 0 && shape.heads % shape.key_value_heads == 0 &&
                shape.heads / shape.key_value_heads <= 8 && shape.head <= 128;
    auto takes = [&](int rows) {
      return Division(shape, rows, properties()).slots >= least_slots;
    };
    int rows = !fits ? 0 : shape.is_float8 ? most_float8_rows : most_rows;
    while (rows > 0 && !takes(rows)) --rows;
    return rows;
  });
}

void few_rows_layers_room(ct_dense_layers shape, const ct_tensor* tensors, ct_tensor* pointers, ct_tensor* workspace) {
  guarded([&] {
    auto addresses = at::zeros({shape.layers, tensors_of_layer}, at::kLong);
    at::Device device = borrow(tensors[0]).device();
    for (int i = 0; i < shape.layers * tensors_of_layer; ++i)
      if (tensors[i]) addresses.data_ptr<int64_t>()[i] = reinterpret_cast<int64_t>(borrow(tensors[i]).data_ptr());
    c10::cuda::CUDAGuard guard(device);
    int64_t most = 0;
    for (int rows = 1; rows <= most_rows; ++rows) most = std::max(most, words(shape, rows));
    *workspace = give(at::zeros({most}, at::TensorOptions().dtype(at::kLong).device(device)));
    *pointers = give(addresses.to(device));
  });
}

ct_tensor few_rows_layers(ct_dense_layers shape, ct_tensor pointers, ct_tensor workspace, ct_tensor input_handle,
                          ct_tensor cosine_handle, ct_tensor sine, ct_tensor pages_handle, ct_tensor lengths, int32_t page_size) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &input = borrow(input_handle), &cosine = borrow(cosine_handle), &pages = borrow(pages_handle);
    c10::cuda::CUDAGuard guard(input.device());
    int rows = input.size(0);
    Division division(shape, rows, properties());
    auto define = [](const char* name, int value) { return "-D" + std::string(name) + "=" + std::to_string(value); };
    std::vector<std::string> defines = {
        head(shape.head), define("ROWS", rows), define("HIDDEN", shape.hidden), define("INNER", shape.inner),
        define("HEADS", shape.heads), define("KEY_VALUE_HEADS", shape.key_value_heads), define("BLOCKS", division.blocks),
        define("SPLITS", division.splits), define("PAGE_SIZE", page_size), define("CHUNK", division.chunk), define("SLOTS", division.slots),
        define("COPIES", copies), define("ROOM", division.room),
        define("QUERY_KEY_VALUE_CUTS", division.cuts[0]), define("OUTPUT_CUTS", division.cuts[1]),
        define("GATE_UP_CUTS", division.cuts[2]), define("DOWN_CUTS", division.cuts[3])};
    if (shape.is_float8) defines.push_back("-DFLOAT8");
    auto output = at::empty_like(input);
    launch_together(kernel(source, "few_rows_layers", defines), dim3(division.blocks), dim3((warps + loading_warps) * 32),
                    division.shared_bytes, bits(input), borrow(pointers).data_ptr(), shape.layers,
                    borrow(workspace).data_ptr(), (float)shape.epsilon, bits(cosine), bits(borrow(sine)),
                    (int)cosine.size(-1), static_cast<int*>(pages.data_ptr()), (int)pages.stride(0),
                    static_cast<int*>(borrow(lengths).data_ptr()), (float)shape.scale, bits(output));
    return give(output);
  });
}

}  // namespace ctorch
