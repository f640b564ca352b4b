// What the files of this folder offer to the table of ctorch_cuda.h.
#pragma once

#include "../CTorch/internal.h"

namespace ctorch {

ct_group nccl_group(ct_store store, int32_t rank, int32_t size, int32_t device_index, const char* name,
                    int64_t timeout_ms, bool survives);

bool memory(int32_t device_index, ct_memory* out);
void reset_peak_memory(int32_t device_index);
void empty_cache();
int32_t compute_capability(int32_t device_index);

ct_stream current_stream(int32_t device_index);
ct_stream pool_stream(int32_t device_index, bool high_priority);
void set_current_stream(ct_stream stream);
void synchronize_stream(ct_stream stream);
void record_stream(ct_tensor tensor, ct_stream stream);

ct_event event(bool timed);
void release_event(ct_event event);
void record_event(ct_event event, ct_stream stream);
void wait_event(ct_event event, ct_stream stream);
void synchronize_event(ct_event event);
bool event_is_done(ct_event event);
double milliseconds_between(ct_event start, ct_event end);

ct_graph graph_begin(ct_graph sharing);
void graph_end(ct_graph graph);
void graph_replay(ct_graph graph);
void graph_release(ct_graph graph);

void write_pages(ct_tensor key, ct_tensor value, ct_tensor keys, ct_tensor values, ct_tensor slots);
ct_tensor decode_attention(ct_tensor query, ct_tensor new_key, ct_tensor new_value, ct_tensor keys, ct_tensor values,
                           ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale, int32_t page_size,
                           int32_t splits);
ct_tensor invariant_decode_attention(ct_tensor query, ct_tensor new_key, ct_tensor new_value, ct_tensor keys,
                                     ct_tensor values, ct_tensor pages, ct_tensor lengths, ct_tensor order, double scale,
                                     int32_t page_size, int32_t splits);
void invariant_attention(ct_tensor query, ct_tensor keys, ct_tensor values, ct_tensor sequences, ct_tensor tiles,
                         ct_tensor pages, double scale, int32_t page_size, ct_tensor* output, ct_tensor* log_sums);
ct_tensor invariant_linear(ct_tensor input, ct_tensor weight);
int32_t invariant_few_rows(ct_tensor weight);
ct_tensor invariant_few_rows_linear(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight,
                                    ct_tensor bias, ct_tensor residual);
ct_tensor silu_multiply(ct_tensor both);
void add_norm(ct_tensor input, ct_tensor delta, ct_tensor weight, double epsilon, ct_tensor* sum, ct_tensor* normed);
void norm_rotate(ct_tensor query, ct_tensor key, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                 ct_tensor cosine, ct_tensor sine, ct_tensor* new_query, ct_tensor* new_key);
ct_tensor few_rows_linear(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight, ct_tensor bias,
                          ct_tensor residual);
ct_tensor few_rows_float8_linear(ct_tensor input, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight,
                                 ct_tensor scales, ct_tensor bias, ct_tensor residual);
int32_t few_rows_of_layers(ct_dense_layers shape, int32_t device_index);
void few_rows_layers_room(ct_dense_layers shape, const ct_tensor* tensors, ct_tensor* pointers, ct_tensor* workspace);
ct_tensor few_rows_layers(ct_dense_layers shape, ct_tensor pointers, ct_tensor workspace, ct_tensor input, ct_tensor cosine,
                          ct_tensor sine, ct_tensor pages, ct_tensor lengths, int32_t page_size);
void transfer(ct_tensor source, ct_tensor target);
void embed(ct_tensor tokens, ct_tensor weight, ct_tensor positions, ct_tensor frequencies, double magnitude, ct_tensor* hidden,
           ct_tensor* cosine, ct_tensor* sine);
ct_tensor sample(ct_tensor logits, ct_tensor temperatures, ct_tensor keys, ct_tensor is_greedy);
bool large_product(ct_tensor left, ct_tensor right, ct_tensor bias, bool adds, ct_tensor output);
void quantize(ct_tensor matrix, int32_t height, int32_t width, bool for_blocks, ct_tensor* values, ct_tensor* scales);
ct_tensor silu_multiply_gradient(ct_tensor both, ct_tensor gradient, ct_tensor* product);
void add_norm_gradient(ct_tensor sum, ct_tensor weight, double epsilon, ct_tensor by_normed, ct_tensor by_sum,
                       ct_tensor* by_input, ct_tensor* by_weight, ct_tensor* normed);
ct_tensor norm_rotate_gradient(ct_tensor query, ct_tensor key, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                               ct_tensor cosine, ct_tensor sine, ct_tensor by_turned_query, ct_tensor by_turned_key,
                               ct_tensor by_value, ct_tensor new_query, ct_tensor new_key, ct_tensor new_value);
ct_tensor row_statistics(ct_tensor logits, ct_tensor targets, double temperature, ct_tensor temperatures);
void logits_gradient(ct_tensor logits, ct_tensor targets, double temperature, ct_tensor log_sums, ct_tensor entropies,
                        ct_tensor by_log_prob, ct_tensor by_entropy);
void add_rows(ct_tensor rows, ct_tensor indices, ct_tensor places, ct_tensor sums);
void adamw(ct_tensor weights, ct_tensor remainders, ct_tensor first, ct_tensor second, ct_tensor gradients, ct_tensor low,
           ct_tensor step, double rate, double beta1, double beta2, double epsilon, double decay, double gradient_scale);
void cudnn_attention(ct_tensor query, ct_tensor key, ct_tensor value, ct_attention_shape shape, ct_tensor* output,
                        ct_tensor* log_sum_exp);
void cudnn_attention_gradient(ct_tensor by_output, ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor output,
                                 ct_tensor log_sum_exp, ct_attention_shape shape, ct_tensor* by_query, ct_tensor* by_key,
                                 ct_tensor* by_value);
void* shared_memory(int32_t device_index, size_t bytes, uint8_t* handle);
void release_shared_memory(int32_t device_index, void* memory);
void* open_shared_memory(int32_t device_index, const uint8_t* handle);
void close_shared_memory(int32_t device_index, void* memory);
void* reserve_region(int32_t device_index, size_t* bytes);
void fill_region(int32_t device_index, void* start, size_t bytes);
void empty_region(int32_t device_index, void* start, size_t bytes);
void release_region(void* start, size_t bytes);
void* pinned_memory(size_t bytes);
void release_pinned_memory(void* memory);
ct_tensor from_device_memory(void* memory, int64_t bytes, int32_t device_index, void (*release)(void*), void* context);

}  // namespace ctorch
