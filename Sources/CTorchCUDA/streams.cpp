// Streams and events.
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda_functions.h"

using at::cuda::CUDAEvent;
using c10::cuda::CUDAStream;

static ct_stream give(CUDAStream stream) { return {stream.id(), stream.device_index()}; }

static CUDAStream stream_of(ct_stream stream) {
  return CUDAStream::unpack3(stream.id, static_cast<c10::DeviceIndex>(stream.device_index), at::kCUDA);
}

static CUDAEvent& event_of(ct_event event) { return *reinterpret_cast<CUDAEvent*>(event); }

namespace ctorch {

ct_stream current_stream(int32_t device_index) {
  return guarded<>(ct_stream{}, [&] {
    return ::give(c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_index)));
  });
}

ct_stream pool_stream(int32_t device_index, bool high_priority) {
  return guarded<>(ct_stream{}, [&] {
    return ::give(c10::cuda::getStreamFromPool(high_priority, static_cast<c10::DeviceIndex>(device_index)));
  });
}

void set_current_stream(ct_stream stream) {
  guarded([&] { c10::cuda::setCurrentCUDAStream(stream_of(stream)); });
}

void synchronize_stream(ct_stream stream) {
  guarded([&] { stream_of(stream).synchronize(); });
}

void record_stream(ct_tensor tensor, ct_stream stream) {
  guarded([&] { borrow(tensor).record_stream(stream_of(stream)); });
}

ct_event event(bool timed) {
  return guarded<>(ct_event{}, [&] {
    return reinterpret_cast<ct_event>(new CUDAEvent(timed ? cudaEventDefault : cudaEventDisableTiming));
  });
}

void release_event(ct_event event) {
  guarded([&] { delete &event_of(event); });
}

void record_event(ct_event event, ct_stream stream) {
  guarded([&] { event_of(event).record(stream_of(stream)); });
}

void wait_event(ct_event event, ct_stream stream) {
  guarded([&] { event_of(event).block(stream_of(stream)); });
}

void synchronize_event(ct_event event) {
  guarded([&] { event_of(event).synchronize(); });
}

bool event_is_done(ct_event event) {
  return guarded<>(false, [&] { return event_of(event).query(); });
}

double milliseconds_between(ct_event start, ct_event end) {
  return guarded<>(0.0, [&] { return static_cast<double>(event_of(start).elapsed_time(event_of(end))); });
}

}  // namespace ctorch
