// Products of training and of prompts by cuBLASLt's algorithms, where its heuristics do not name the fastest.
//
// A tile's sums leave the tensor cores idle while they are rounded and stored, unless a multiprocessor has another tile beside
// it. cuBLASLt's heuristics prefer tiles so large that each has a multiprocessor to itself; of what they propose besides, smaller
// tiles, two of which fit, are faster wherever sums are not long: by 5 to 20 % (Benchmarks/RESULTS.md). So proposals are compared
// by how long they keep the tensor cores.
#include <map>
#include <mutex>
#include <optional>

#include "cublas_lt.h"

namespace {

using namespace ctorch;

constexpr int most_proposals = 8;
constexpr uint64_t most_workspace = 32 << 20;
/// Storing a tile that is alone on its multiprocessor takes as long as so many steps along K.
constexpr double store_steps = 300;
/// Numbers of a tile of which a multiprocessor holds two.
constexpr int most_of_pair = 176 * 128;
/// A product that is expected to be this much faster is worth another algorithm.
constexpr double least_gain = 1.03;
/// Smaller products are bound by their operands.
constexpr int64_t least_size = 512;
constexpr double least_operations = 2e10;

struct Tile { int rows, columns; };

/// Those that cuBLASLt has for tensor cores that four warps drive together: one side a multiple of 64, the other of eight.
std::optional<Tile> tile(const cublasLtMatmulAlgo_t& algorithm) {
  int id = 0;
  size_t size;
  cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID, &id, sizeof(id), &size);
  switch (id) {
#define TILE(rows, columns) case CUBLASLT_MATMUL_TILE_##rows##x##columns: return Tile{rows, columns};
#define TURNED(columns, rows) TILE(rows, columns)
#define TO_128(T, other) T(72, other) T(80, other) T(88, other) T(96, other) T(104, other) T(112, other) T(120, other)
#define TO_192(T, other) T(136, other) T(144, other) T(152, other) T(160, other) T(168, other) T(176, other) T(184, other)
#define TO_256(T, other) T(200, other) T(208, other) T(216, other) T(224, other) T(232, other) T(240, other) T(248, other)
#define BESIDE(T, other) TO_128(T, other) TO_192(T, other) TO_256(T, other)
#define WHOLE(other) TILE(64, other) TILE(128, other) TILE(192, other) TILE(256, other)
    WHOLE(64) WHOLE(128) WHOLE(192) WHOLE(256) TILE(320, 64) TILE(320, 128) TILE(384, 64) TILE(384, 128) TILE(64, 320) TILE(64, 384)
    BESIDE(TILE, 64) BESIDE(TURNED, 64) BESIDE(TILE, 128) BESIDE(TURNED, 128) BESIDE(TILE, 192) BESIDE(TURNED, 192)
    TO_128(TILE, 256) TO_192(TILE, 256) TO_128(TURNED, 256) TO_192(TURNED, 256) TO_128(TURNED, 320)
#undef TILE
#undef TURNED
#undef TO_128
#undef TO_192
#undef TO_256
#undef BESIDE
#undef WHOLE
    default: return {};
  }
}

Tile cluster(const cublasLtMatmulAlgo_t& algorithm) {
  uint16_t id = 0;
  size_t size;
  cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, &id, sizeof(id), &size);
  switch (id) {
    case CUBLASLT_CLUSTER_SHAPE_2x1x1: return {2, 1};
    case CUBLASLT_CLUSTER_SHAPE_4x1x1: return {4, 1};
    case CUBLASLT_CLUSTER_SHAPE_1x2x1: return {1, 2};
    case CUBLASLT_CLUSTER_SHAPE_2x2x1: return {2, 2};
    case CUBLASLT_CLUSTER_SHAPE_4x2x1: return {4, 2};
    case CUBLASLT_CLUSTER_SHAPE_1x4x1: return {1, 4};
    case CUBLASLT_CLUSTER_SHAPE_2x4x1: return {2, 4};
    default: return {1, 1};
  }
}

/// How long an algorithm keeps the busiest multiprocessor, in products of two numbers; nothing where its tile is not known.
std::optional<double> duration(const cublasLtMatmulAlgo_t& algorithm, int64_t rows, int64_t columns, int64_t depth, int processors) {
  auto own = tile(algorithm);
  if (!own) return {};
  auto divided = [](int64_t whole, int64_t part) { return (whole + part - 1) / part; };
  auto [down, across] = cluster(algorithm);
  int64_t tiles = divided(divided(rows, own->rows), down) * down * divided(divided(columns, own->columns), across) * across;
  bool is_pair = own->rows * own->columns <= most_of_pair;
  // Of pairs the last may be alone, and is then twice as fast.
  int64_t turns = divided(tiles, processors);
  double steps = depth + (is_pair ? 0 : store_steps);
  // Smaller tiles read more for each product.
  double reading = 1 + 2.0 / own->rows + 2.0 / own->columns;
  return turns * steps * own->rows * own->columns * reading;
}

cudaDataType_t type(const at::Tensor& tensor) { return tensor.scalar_type() == at::kFloat ? CUDA_R_32F : CUDA_R_16BF; }

/// A tensor as cuBLASLt sees it: rows of numbers one after another are columns. Nothing where its numbers lie otherwise.
std::optional<BlasMatrix> matrix(const at::Tensor& tensor) {
  auto is_plain = [&](int64_t stride, int64_t length) { return stride >= length && stride % 8 == 0; };
  if (tensor.dim() != 2 || !is_aligned(tensor)) return {};
  if (tensor.stride(1) == 1 && is_plain(tensor.stride(0), tensor.size(1)))
    return BlasMatrix{type(tensor), tensor.size(1), tensor.size(0), tensor.stride(0)};
  if (tensor.stride(0) == 1 && is_plain(tensor.stride(1), tensor.size(0)))
    return BlasMatrix{type(tensor), tensor.size(0), tensor.size(1), tensor.stride(1), true};
  return {};
}

struct Choice {
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace_bytes;
};

std::optional<Choice> chosen(const BlasProduct& product, int64_t rows, int64_t columns, int64_t depth) {
  int processors = at::cuda::getCurrentDeviceProperties()->multiProcessorCount;
  std::optional<Choice> best;
  double least = 0;
  for (auto& proposal : product.proposals<most_proposals>(most_workspace)) {
    auto own = duration(proposal.algo, rows, columns, depth, processors);
    bool is_first = least == 0;
    // What is to be beaten is the first.
    if (is_first && !own) return {};
    if (is_first) least = *own / least_gain;
    else if (own && *own < least) least = *own, best = Choice{proposal.algo, proposal.workspaceSize};
  }
  return best;
}

/// All that a choice depends on.
using Key = std::array<int64_t, 11>;

/// - Parameter choose: called where the choice is not known.
template <class Choose>
std::optional<Choice> known_choice(const Key& key, Choose choose) {
  static std::mutex mutex;
  static std::map<Key, std::optional<Choice>> known;
  std::lock_guard lock(mutex);
  auto found = known.find(key);
  if (found == known.end()) found = known.emplace(key, choose()).first;
  return found->second;
}

}  // namespace

namespace ctorch {

bool large_product(ct_tensor left_handle, ct_tensor right_handle, ct_tensor bias_handle, bool adds, ct_tensor output_handle) {
  return guarded<>(false, [&] {
    const auto &left = borrow(left_handle), &right = borrow(right_handle), &output = borrow(output_handle);
    const auto& bias = borrow_optional(bias_handle);
    int64_t rows = left.size(0), columns = right.size(1), depth = left.size(1);
    if (std::min({rows, columns, depth}) < least_size || 2.0 * rows * columns * depth < least_operations) return false;
    c10::cuda::CUDAGuard guard(left.device());
    if (at::cuda::getCurrentDeviceProperties()->major != 9) return false;
    auto first = matrix(right), second = matrix(left), made = matrix(output);
    auto is_bf16 = [](const at::Tensor& tensor) { return tensor.scalar_type() == at::kBFloat16; };
    bool has_known_types = is_bf16(left) && is_bf16(right) && (is_bf16(output) || output.scalar_type() == at::kFloat);
    bool has_known_bias = !bias.defined() || (is_bf16(bias) && is_bf16(output) && bias.is_contiguous() && is_aligned(bias));
    if (!first || !second || !made || made->is_transposed || !has_known_types || !has_known_bias) return false;
    auto product = [&] { return BlasProduct(*first, *second, *made, bias.defined() ? bias.data_ptr() : nullptr); };
    Key key = {left.device().index(), rows, columns, depth, first->stride, second->stride, made->stride, first->is_transposed,
               second->is_transposed, made->type, bias.defined()};
    auto choice = known_choice(key, [&] { return chosen(product(), columns, rows, depth); });
    return choice && product().run(choice->algorithm, choice->workspace_bytes, right.data_ptr(), left.data_ptr(), adds, output.data_ptr());
  });
}

}  // namespace ctorch
