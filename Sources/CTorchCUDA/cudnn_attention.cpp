// cuDNN's attention over packed sequences, forward and backward. A plan is made once for sizes like these, and kept.
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#include <ATen/cudnn/Handle.h>
#include <c10/cuda/CUDAGuard.h>
#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <map>
#include <mutex>

#include "cuda_functions.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace graph = cudnn_frontend::graph;

namespace {

enum Place : int64_t {
  QUERY = 1, KEY, VALUE, OUTPUT, STATISTICS, BY_OUTPUT, BY_QUERY, BY_KEY, BY_VALUE, QUERY_LENGTHS, KEY_LENGTHS,
  QUERY_STARTS, KEY_STARTS, VALUE_STARTS, OUTPUT_STARTS, STATISTICS_STARTS, BY_KEY_STARTS, BY_VALUE_STARTS,
};

struct Plan {
  graph::Graph graph;
  int64_t workspace = 0;
};

// All that a plan depends on.
struct Shape {
  int64_t sequences, query_length, key_length, query_total, key_total;
  int64_t heads, key_heads, dimension, value_dimension;
  int64_t query_stride, key_stride, value_stride;
  double scale;
  bool is_ragged, is_causal, is_backward, is_half;
  int device;
  auto operator<=>(const Shape&) const = default;
};

void check(cudnn_frontend::error_t error, const char* step) {
  TORCH_CHECK(error.is_good(), "cuDNN's attention: ", step, ": ", error.get_message(),
              "; --attn-implementation flash_attention_2 does without it");
}

void require_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    cudnn_frontend::cudnn_dlhandle = dlopen("libcudnn.so.9", RTLD_NOW);
    TORCH_CHECK(cudnn_frontend::cudnn_dlhandle, "libcudnn.so.9 was not found: ", dlerror());
  });
}

using Attributes = std::shared_ptr<graph::Tensor_attributes>;

std::unique_ptr<Plan> made(const Shape& shape, cudnnHandle_t handle) {
  auto plan = std::make_unique<Plan>();
  auto& g = plan->graph;
  auto type = shape.is_half ? cudnn_frontend::DataType_t::HALF : cudnn_frontend::DataType_t::BFLOAT16;
  g.set_io_data_type(type)
      .set_intermediate_data_type(cudnn_frontend::DataType_t::FLOAT)
      .set_compute_data_type(cudnn_frontend::DataType_t::FLOAT);
  auto index = [&](int64_t place, int64_t count, cudnn_frontend::DataType_t type) {
    return g.tensor(graph::Tensor_attributes().set_uid(place).set_dim({count, 1, 1, 1}).set_stride({1, 1, 1, 1}).set_data_type(type));
  };
  auto starts = [&](int64_t place) {
    return shape.is_ragged ? index(place, shape.sequences + 1, cudnn_frontend::DataType_t::INT64) : nullptr;
  };
  // [T, heads, dimension] as [sequences, heads, length, dimension].
  auto dims = [&](int64_t heads, int64_t length, int64_t dimension) {
    return std::vector<int64_t>{shape.sequences, heads, length, dimension};
  };
  auto strides = [&](int64_t length, int64_t token, int64_t dimension) {
    return std::vector<int64_t>{length * token, dimension, token, 1};
  };
  auto given = [&](int64_t place, int64_t heads, int64_t length, int64_t dimension, int64_t token, const Attributes& offsets) {
    auto attributes = graph::Tensor_attributes().set_uid(place).set_dim(dims(heads, length, dimension)).set_stride(
        strides(length, token, dimension));
    if (offsets) attributes.set_ragged_offset(offsets);
    return g.tensor(attributes);
  };
  auto wanted = [&](const Attributes& tensor, int64_t place, int64_t heads, int64_t length, int64_t dimension, const Attributes& offsets) {
    tensor->set_output(true).set_uid(place).set_dim(dims(heads, length, dimension)).set_stride(
        strides(length, heads * dimension, dimension));
    if (offsets) tensor->set_ragged_offset(offsets);
  };
  auto query_starts = starts(QUERY_STARTS), key_starts = starts(KEY_STARTS), value_starts = starts(VALUE_STARTS);
  auto output_starts = starts(OUTPUT_STARTS), statistics_starts = starts(STATISTICS_STARTS);
  auto query = given(QUERY, shape.heads, shape.query_length, shape.dimension, shape.query_stride, query_starts);
  auto key = given(KEY, shape.key_heads, shape.key_length, shape.dimension, shape.key_stride, key_starts);
  auto value = given(VALUE, shape.key_heads, shape.key_length, shape.value_dimension, shape.value_stride, value_starts);
  auto query_lengths = shape.is_ragged ? index(QUERY_LENGTHS, shape.sequences, cudnn_frontend::DataType_t::INT32) : nullptr;
  auto key_lengths = shape.is_ragged ? index(KEY_LENGTHS, shape.sequences, cudnn_frontend::DataType_t::INT32) : nullptr;
  // [T, heads]
  auto statistics_dims = dims(shape.heads, shape.query_length, 1);
  std::vector<int64_t> statistics_strides = {shape.heads * shape.query_length, 1, shape.heads, 1};
  auto common = [&](auto& attributes) {
    attributes.set_attn_scale((float)shape.scale).set_causal_mask(shape.is_causal);
    if (shape.is_ragged) attributes.set_padding_mask(true).set_seq_len_q(query_lengths).set_seq_len_kv(key_lengths);
  };
  if (!shape.is_backward) {
    auto attributes = graph::SDPA_attributes().set_name("attention").set_generate_stats(true);
    common(attributes);
    auto [output, statistics] = g.sdpa(query, key, value, attributes);
    wanted(output, OUTPUT, shape.heads, shape.query_length, shape.value_dimension, output_starts);
    statistics->set_output(true).set_uid(STATISTICS).set_data_type(cudnn_frontend::DataType_t::FLOAT).set_dim(statistics_dims)
        .set_stride(statistics_strides);
    if (shape.is_ragged) statistics->set_ragged_offset(statistics_starts);
  } else {
    auto output = given(OUTPUT, shape.heads, shape.query_length, shape.value_dimension, shape.heads * shape.value_dimension, output_starts);
    auto by_output = given(BY_OUTPUT, shape.heads, shape.query_length, shape.value_dimension, shape.heads * shape.value_dimension, output_starts);
    auto described = graph::Tensor_attributes().set_uid(STATISTICS).set_data_type(cudnn_frontend::DataType_t::FLOAT)
                         .set_dim(statistics_dims).set_stride(statistics_strides);
    if (shape.is_ragged) described.set_ragged_offset(statistics_starts);
    auto attributes = graph::SDPA_backward_attributes().set_name("attention_gradient");
    common(attributes);
    if (shape.is_ragged) attributes.set_max_total_seq_len_q(shape.query_total).set_max_total_seq_len_kv(shape.key_total);
    auto [by_query, by_key, by_value] = g.sdpa_backward(query, key, value, output, by_output, g.tensor(described), attributes);
    // Queries and the output's gradient lie densely, as their gradients do.
    wanted(by_query, BY_QUERY, shape.heads, shape.query_length, shape.dimension, query_starts);
    wanted(by_key, BY_KEY, shape.key_heads, shape.key_length, shape.dimension, starts(BY_KEY_STARTS));
    wanted(by_value, BY_VALUE, shape.key_heads, shape.key_length, shape.value_dimension, starts(BY_VALUE_STARTS));
  }
  check(g.validate(), "the description is refused");
  check(g.build_operation_graph(handle), "no graph");
  check(g.create_execution_plans({cudnn_frontend::HeurMode_t::A}), "no plans");
  check(g.check_support(handle), "not supported");
  check(g.build_plans(handle), "no plan was built");
  check(g.get_workspace_size(plan->workspace), "no workspace size");
  return plan;
}

Plan& plan(const Shape& shape, cudnnHandle_t handle) {
  static std::mutex mutex;
  static std::map<Shape, std::unique_ptr<Plan>> plans;
  std::lock_guard lock(mutex);
  auto& found = plans[shape];
  if (!found) found = made(shape, handle);
  return *found;
}

Shape described(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const ct_attention_shape& shape, bool is_backward) {
  // Only gradients depend on how many tokens there are in all.
  return {shape.sequences, shape.query_length, shape.key_length, is_backward ? shape.query_total : 0,
          is_backward ? shape.key_total : 0, query.size(1), key.size(1),
          query.size(2), value.size(2), query.stride(0), key.stride(0), value.stride(0), shape.scale,
          shape.query_starts != nullptr, shape.is_causal, is_backward, query.scalar_type() == at::kHalf, query.device().index()};
}

// Where the sequences of packed tensors begin, in numbers; kept alive until the call is queued.
struct Starts {
  std::vector<at::Tensor> kept;
  std::unordered_map<int64_t, void*>& pointers;

  void add(int64_t place, const at::Tensor& rows, int64_t width) {
    kept.push_back(width == 1 ? rows : rows * width);
    pointers[place] = kept.back().data_ptr();
  }
};

void run(const Shape& shape, const ct_attention_shape& given, std::unordered_map<int64_t, void*>& pointers, const at::Tensor& like) {
  auto handle = at::native::getCudnnHandle();
  Starts starts{{}, pointers};
  if (shape.is_ragged) {
    const auto &query_starts = ctorch::borrow(given.query_starts), &key_starts = ctorch::borrow(given.key_starts);
    pointers[QUERY_LENGTHS] = ctorch::borrow(given.query_lengths).data_ptr();
    pointers[KEY_LENGTHS] = ctorch::borrow(given.key_lengths).data_ptr();
    starts.add(QUERY_STARTS, query_starts, shape.query_stride);
    starts.add(KEY_STARTS, key_starts, shape.key_stride);
    starts.add(VALUE_STARTS, key_starts, shape.value_stride);
    starts.add(OUTPUT_STARTS, query_starts, shape.heads * shape.value_dimension);
    starts.add(STATISTICS_STARTS, query_starts, shape.heads);
    if (shape.is_backward) {
      starts.add(BY_KEY_STARTS, key_starts, shape.key_heads * shape.dimension);
      starts.add(BY_VALUE_STARTS, key_starts, shape.key_heads * shape.value_dimension);
    }
  }
  auto& found = plan(shape, handle);
  auto workspace = at::empty({std::max<int64_t>(found.workspace, 1)}, like.options().dtype(at::kByte));
  check(found.graph.execute(handle, pointers, workspace.data_ptr()), "it did not run");
}

}  // namespace

namespace ctorch {

void cudnn_attention(ct_tensor query_handle, ct_tensor key_handle, ct_tensor value_handle, ct_attention_shape shape,
                     ct_tensor* output, ct_tensor* log_sum_exp) {
  guarded([&] {
    const auto &query = borrow(query_handle), &key = borrow(key_handle), &value = borrow(value_handle);
    c10::cuda::CUDAGuard guard(query.device());
    require_library();
    auto result = at::empty({query.size(0), query.size(1), value.size(2)}, query.options());
    auto statistics = at::empty({query.size(0), query.size(1)}, query.options().dtype(at::kFloat));
    std::unordered_map<int64_t, void*> pointers = {
        {QUERY, query.data_ptr()}, {KEY, key.data_ptr()}, {VALUE, value.data_ptr()}, {OUTPUT, result.data_ptr()},
        {STATISTICS, statistics.data_ptr()}};
    run(described(query, key, value, shape, false), shape, pointers, query);
    *output = give(result);
    *log_sum_exp = give(statistics);
  });
}

void cudnn_attention_gradient(ct_tensor by_output, ct_tensor query_handle, ct_tensor key_handle, ct_tensor value_handle,
                              ct_tensor output, ct_tensor log_sum_exp, ct_attention_shape shape, ct_tensor* by_query,
                              ct_tensor* by_key, ct_tensor* by_value) {
  guarded([&] {
    const auto &query = borrow(query_handle), &key = borrow(key_handle), &value = borrow(value_handle);
    c10::cuda::CUDAGuard guard(query.device());
    require_library();
    auto first = at::empty(query.sizes(), query.options()), second = at::empty(key.sizes(), key.options());
    auto third = at::empty(value.sizes(), value.options());
    std::unordered_map<int64_t, void*> pointers = {
        {QUERY, query.data_ptr()}, {KEY, key.data_ptr()}, {VALUE, value.data_ptr()}, {OUTPUT, borrow(output).data_ptr()},
        {STATISTICS, borrow(log_sum_exp).data_ptr()}, {BY_OUTPUT, borrow(by_output).data_ptr()}, {BY_QUERY, first.data_ptr()},
        {BY_KEY, second.data_ptr()}, {BY_VALUE, third.data_ptr()}};
    run(described(query, key, value, shape, true), shape, pointers, query);
    *by_query = give(first);
    *by_key = give(second);
    *by_value = give(third);
  });
}

}  // namespace ctorch
