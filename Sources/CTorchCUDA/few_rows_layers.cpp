// All layers of a dense model for the rows of a small batch that decodes, by one kernel.
#include "kernel_library.h"

static const char* const source =
#include "kernels/attention_tiles.cuh"
#include "kernels/few_rows_words.cuh"
#include "kernels/few_rows_stream.cuh"
#include "kernels/few_rows_attention.cuh"
#include "kernels/few_rows_layers.cuh"
    ;

namespace {

constexpr int tensors_of_layer = 14;
constexpr int most_rows = 4;
/// Of a block: those that multiply, and those that load.
constexpr int warps = 8, loading_warps = 4;
constexpr int eight_bytes = 16;
/// A warp multiplies four parts of rows at once, while others are loaded.
constexpr int least_slots = 6;

/// How the kernel divides a model's layers for so many rows.
struct Division {
  int blocks, splits, chunk = 0, slots, in_flight, room, shared_bytes;
  /// Warps that share a row: of the weight of queries, keys and values, the output's, gate and up, down.
  int cuts[4];

  Division(const ct_dense_layers& shape, int rows, const cudaDeviceProp& device) {
    int attended = shape.heads * shape.head, projected = attended + 2 * shape.key_value_heads * shape.head;
    // Each makes a pair of numbers of each product, at least.
    blocks = std::min({device.multiProcessorCount, shape.hidden / 2, shape.inner / 2, projected / 2});
    splits = std::clamp(blocks / (rows * shape.key_value_heads), 1, 32);
    int products[4][2] = {{shape.hidden, projected}, {attended, shape.hidden}, {shape.hidden, 2 * shape.inner},
                          {shape.inner, shape.hidden}};
    for (int i = 0; i < 4; ++i) {
      auto [inputs, outputs] = products[i];
      cuts[i] = cuts_of(inputs, outputs);
      chunk = std::max(chunk, (inputs / 8 + cuts[i] - 1) / cuts[i]);
    }
    // The rows that are multiplied, and sums, queries, the new key and value of attention.
    int attention = warps * 8 * (shape.head + 2) * 4 + 10 * shape.head * 2;
    room = std::max(rows * std::max({shape.hidden, attended, shape.inner}) * 2, attention);
    room = (room + 127) / 128 * 128;
    // What the kernel declares by itself: sums of the products, the block's hidden states, and little else.
    auto most_own = [&](int numbers) { return 2 * (numbers / 2 / blocks + 1); };
    int sums = std::max({most_own(projected) * cuts[0], most_own(shape.hidden) * std::max(cuts[1], cuts[3]),
                         2 * most_own(shape.inner) * cuts[2]});
    int rest = rows * (sums + most_own(shape.hidden)) * 4 + (4 << 10), layers = shape.layers * tensors_of_layer * 8;
    slots = std::min(16, ((int)device.sharedMemPerBlockOptin - rest - layers - room) / (warps * chunk * eight_bytes));
    // Loads slow down what blocks tell each other: where a layer's weights are soon loaded, fewer at once take less time.
    long weights = 0;
    for (auto [inputs, outputs] : products) weights += 2L * inputs * outputs / blocks;
    in_flight = weights < 2L * warps * slots * chunk * eight_bytes ? 1 : 2;
    shared_bytes = warps * slots * chunk * eight_bytes + room + layers;
  }

 private:
  /// Of those after which a lane has at most five eights of a row, or else the fewest, what leaves each warp the least to load.
  int cuts_of(int inputs, int outputs) const {
    int own = (outputs + blocks - 1) / blocks, best = warps, least = INT32_MAX;
    for (int cuts = 1; cuts <= warps; cuts *= 2) {
      int rounds = (own * cuts + warps - 1) / warps, eights = (inputs / 8 + cuts - 1) / cuts, work = rounds * ((eights + 31) / 32);
      if (eights <= 5 * 32 && work < least) std::tie(best, least) = std::pair(cuts, work);
    }
    return best;
  }
};

const cudaDeviceProp& properties() { return *at::cuda::getCurrentDeviceProperties(); }

/// 64-bit words of a workspace, as the kernel's `Words` and what stands before them.
int64_t words(const ct_dense_layers& shape, int rows) {
  int64_t attended = shape.heads * shape.head, projected = attended + 2 * shape.key_value_heads * shape.head;
  int64_t splits = Division(shape, rows, properties()).splits;
  return 2 + rows * ((projected + attended + shape.hidden + shape.inner + shape.hidden) / 2 + shape.heads * splits * (shape.head + 2));
}

}  // namespace

namespace ctorch {

int32_t few_rows_of_layers(ct_dense_layers shape, int32_t device_index) {
  return guarded<>(int32_t(0), [&] {
    c10::cuda::CUDAGuard guard(device_index);
    bool fits = properties().major == 9 && shape.hidden % 8 == 0 && shape.inner % 8 == 0 && shape.layers > 0 &&
                shape.heads % shape.key_value_heads == 0 && shape.heads / shape.key_value_heads <= 8 &&
                shape.head <= 128;
    auto takes = [&](int rows) {
      Division division(shape, rows, properties());
      // Of several rows, lanes have registers for short parts.
      return division.slots >= least_slots && (rows == 1 || division.chunk <= 4 * 32);
    };
    int rows = fits ? most_rows : 0;
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
    auto function = kernel(
        source, "few_rows_layers",
        {head(shape.head), define("ROWS", rows), define("HIDDEN", shape.hidden), define("INNER", shape.inner),
         define("HEADS", shape.heads), define("KEY_VALUE_HEADS", shape.key_value_heads), define("BLOCKS", division.blocks),
         define("SPLITS", division.splits), define("CHUNK", division.chunk), define("SLOTS", division.slots),
         define("IN_FLIGHT", division.in_flight),
         define("ROOM", division.room), define("QUERY_KEY_VALUE_CUTS", division.cuts[0]),
         define("OUTPUT_CUTS", division.cuts[1]), define("GATE_UP_CUTS", division.cuts[2]),
         define("DOWN_CUTS", division.cuts[3])});
    auto output = at::empty_like(input);
    launch_together(function, dim3(division.blocks), dim3((warps + loading_warps) * 32), division.shared_bytes, bits(input),
                    borrow(pointers).data_ptr(), shape.layers, borrow(workspace).data_ptr(), (float)shape.epsilon,
                    (float)shape.head_epsilon, bits(cosine), bits(borrow(sine)), (int)cosine.size(-1),
                    static_cast<int*>(pages.data_ptr()), (int)pages.stride(0),
                    static_cast<int*>(borrow(lengths).data_ptr()), page_size, (float)shape.scale, bits(output));
    return give(output);
  });
}

}  // namespace ctorch
