// What the files of this folder offer to the table of ctorch_cuda.h.
#pragma once

#include "../CTorch/internal.h"

namespace ctorch {

ct_group nccl_group(ct_store store, int32_t rank, int32_t size, int32_t device_index, const char* name,
                    int64_t timeout_ms);

bool memory(int32_t device_index, ct_memory* out);
void reset_peak_memory(int32_t device_index);
void empty_cache();

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

void* shared_memory(int32_t device_index, size_t bytes, uint8_t* handle);
void release_shared_memory(int32_t device_index, void* memory);
void* open_shared_memory(int32_t device_index, const uint8_t* handle);
void close_shared_memory(int32_t device_index, void* memory);
ct_tensor from_device_memory(void* memory, int64_t bytes, int32_t device_index, void (*release)(void*), void* context);

}  // namespace ctorch
