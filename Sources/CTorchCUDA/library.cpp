// The table of functions, and where errors go: to the CTorch that opened this library.
#include "cuda_functions.h"

namespace ctorch {

static void (*raise)(const char* message) = nullptr;

void set_error(const char* message) noexcept { raise(message); }
void refuse_undefined() { TORCH_CHECK(false, "the result of a failed operation was used"); }

}  // namespace ctorch

using namespace ctorch;

CT_API const ct_cuda_functions* ct_cuda_initialize(size_t size, void (*raise)(const char*)) {
  static const ct_cuda_functions functions = {
      .nccl_group = nccl_group,
      .memory = memory,
      .reset_peak_memory = reset_peak_memory,
      .empty_cache = empty_cache,
      .compute_capability = compute_capability,
      .current_stream = current_stream,
      .pool_stream = pool_stream,
      .set_current_stream = set_current_stream,
      .synchronize_stream = synchronize_stream,
      .record_stream = record_stream,
      .event = event,
      .release_event = release_event,
      .record_event = record_event,
      .wait_event = wait_event,
      .synchronize_event = synchronize_event,
      .event_is_done = event_is_done,
      .milliseconds_between = milliseconds_between,
      .graph_begin = graph_begin,
      .graph_end = graph_end,
      .graph_replay = graph_replay,
      .graph_release = graph_release,
      .write_pages = write_pages,
      .decode_attention = decode_attention,
      .invariant_decode_attention = invariant_decode_attention,
      .invariant_attention = invariant_attention,
      .invariant_linear = invariant_linear,
      .invariant_few_rows = invariant_few_rows,
      .invariant_few_rows_linear = invariant_few_rows_linear,
      .silu_multiply = silu_multiply,
      .add_norm = add_norm,
      .norm_rotate = norm_rotate,
      .few_rows_linear = few_rows_linear,
      .few_rows_float8_linear = few_rows_float8_linear,
      .few_rows_of_layers = few_rows_of_layers,
      .few_rows_layers_room = few_rows_layers_room,
      .few_rows_layers = few_rows_layers,
      .transfer = transfer,
      .embed = embed,
      .sample = sample,
      .large_product = large_product,
      .quantize = quantize,
      .silu_multiply_gradient = silu_multiply_gradient,
      .add_norm_gradient = add_norm_gradient,
      .norm_rotate_gradient = norm_rotate_gradient,
      .row_statistics = row_statistics,
      .logits_gradient = logits_gradient,
      .add_rows = add_rows,
      .adamw = adamw,
      .cudnn_attention = cudnn_attention,
      .cudnn_attention_gradient = cudnn_attention_gradient,
      .shared_memory = shared_memory,
      .release_shared_memory = release_shared_memory,
      .open_shared_memory = open_shared_memory,
      .close_shared_memory = close_shared_memory,
      .from_device_memory = from_device_memory,
      .reserve_region = reserve_region,
      .fill_region = fill_region,
      .empty_region = empty_region,
      .release_region = release_region,
      .pinned_memory = pinned_memory,
      .release_pinned_memory = release_pinned_memory,
  };
  if (size != sizeof(functions)) return nullptr;
  ctorch::raise = raise;
  return &functions;
}
