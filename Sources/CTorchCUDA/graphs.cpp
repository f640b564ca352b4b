// Work that is recorded once and queued again as a whole.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda_functions.h"

using at::cuda::CUDAGraph;

static CUDAGraph& graph_of(ct_graph graph) { return *reinterpret_cast<CUDAGraph*>(graph); }

namespace ctorch {

ct_graph graph_begin(ct_graph sharing) {
  return guarded<>(ct_graph{}, [&] {
    auto graph = std::make_unique<CUDAGraph>();
    graph->capture_begin(sharing ? graph_of(sharing).pool() : at::cuda::MempoolId_t{0, 0}, cudaStreamCaptureModeThreadLocal);
    return reinterpret_cast<ct_graph>(graph.release());
  });
}

void graph_end(ct_graph graph) {
  guarded([&] { graph_of(graph).capture_end(); });
}

void graph_replay(ct_graph graph) {
  guarded([&] { graph_of(graph).replay(); });
}

void graph_release(ct_graph graph) {
  guarded([&] { delete &graph_of(graph); });
}

}  // namespace ctorch
