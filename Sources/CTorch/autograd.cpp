// Autograd: gradients, functions with the caller's backward, hooks.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdlib>

#include "internal.h"

using namespace ctorch;
using torch::autograd::variable_list;

namespace {

/// Owns a caller's closure; frees its context exactly once.
class Closure {
 public:
  explicit Closure(ct_closure closure) : closure_(closure) {}
  Closure(const Closure&) = delete;
  Closure& operator=(const Closure&) = delete;
  ~Closure() { closure_.release(closure_.context); }

  variable_list operator()(const variable_list& inputs, size_t result_count) const {
    std::vector<ct_tensor> borrowed(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      borrowed[i] = inputs[i].defined() ? reinterpret_cast<ct_tensor>(inputs[i].unsafeGetTensorImpl()) : nullptr;
    }
    std::vector<ct_tensor> results(result_count, nullptr);
    char* message =
        closure_.call(closure_.context, borrowed.data(), borrowed.size(), results.data(), results.size());
    variable_list owned(result_count);
    for (size_t i = 0; i < result_count; ++i) {
      if (results[i]) {
        owned[i] = at::Tensor(c10::intrusive_ptr<at::TensorImpl, at::UndefinedTensorImpl>::reclaim(
            reinterpret_cast<at::TensorImpl*>(results[i])));
      }
    }
    if (message) {
      std::string text(message);
      std::free(message);
      TORCH_CHECK(false, text);
    }
    return owned;
  }

 private:
  ct_closure closure_;
};

struct ClosureNode : torch::autograd::Node {
  std::shared_ptr<Closure> backward;
  std::string label;

  variable_list apply(variable_list&& gradients) override {
    TORCH_CHECK(backward, "backward through ", label, " a second time: pass retainGraph the first time");
    return (*backward)(gradients, num_outputs());
  }
  void release_variables() override { backward.reset(); }
  std::string name() const override { return label; }
};

/// A leaf has one hook object: ours holds all closures, in the order of their registration.
struct PostAccumulateHooks : torch::autograd::PostAccumulateGradHook {
  void operator()(const torch::autograd::Variable& leaf) override {
    for (auto& closure : closures) (*closure)({leaf}, 0);
  }
  std::vector<std::unique_ptr<Closure>> closures;
};

variable_list list(ct_tensors handles) {
  variable_list result;
  result.reserve(handles.count);
  for (size_t i = 0; i < handles.count; ++i) result.push_back(borrow_optional(handles.data[i]));
  return result;
}

}  // namespace

bool ct_grad_enabled(void) { return at::GradMode::is_enabled(); }
void ct_set_grad_enabled(bool enabled) { at::GradMode::set_enabled(enabled); }
bool ct_requires_grad(ct_tensor tensor) {
  return guarded<>(false, [&] { return borrow(tensor).requires_grad(); });
}

void ct_set_requires_grad(ct_tensor tensor, bool requires_grad) {
  guarded([&] { borrow(tensor).set_requires_grad(requires_grad); });
}

bool ct_is_leaf(ct_tensor tensor) {
  return guarded<>(false, [&] { return borrow(tensor).is_leaf(); });
}

ct_tensor ct_grad(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give_optional(borrow(tensor).grad()); });
}

void ct_set_grad(ct_tensor tensor, ct_tensor grad) {
  guarded([&] {
    auto& t = borrow(tensor);
    auto& gradient = borrow_optional(grad);
    TORCH_CHECK(!gradient.defined() || gradient.sizes() == t.sizes(), "a gradient of shape ", gradient.sizes(),
                " for a tensor of shape ", t.sizes());
    t.mutable_grad() = gradient;
  });
}

ct_tensor ct_detach(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(tensor).detach()); });
}

ct_tensor ct_variable_data(ct_tensor tensor) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(tensor).variable_data()); });
}

void ct_set_data(ct_tensor tensor, ct_tensor data) {
  guarded([&] { borrow(tensor).set_data(borrow(data)); });
}

void ct_backward(ct_tensors outputs, ct_tensors gradients, bool retain_graph, bool create_graph, ct_tensors inputs) {
  guarded([&] {
    torch::autograd::backward(list(outputs), list(gradients), retain_graph, create_graph, list(inputs));
  });
}

ct_tensor_array ct_gradients(ct_tensors outputs, ct_tensors inputs, ct_tensors gradients, bool retain_graph,
                             bool create_graph, bool allow_unused) {
  return guarded<>(ct_tensor_array{}, [&] {
    return give_array(torch::autograd::grad(list(outputs), list(inputs), list(gradients), retain_graph, create_graph,
                                            allow_unused));
  });
}

void ct_attach_backward(ct_tensors inputs, ct_tensors outputs, const char* name, ct_closure backward) {
  auto closure = std::make_shared<Closure>(backward);
  guarded([&] {
    auto variables = list(inputs);
    if (!at::GradMode::is_enabled() || !torch::autograd::compute_requires_grad(variables)) return;
    auto node = std::shared_ptr<ClosureNode>(new ClosureNode(), torch::autograd::deleteNode);
    node->backward = std::move(closure);
    node->label = name;
    node->set_next_edges(torch::autograd::collect_next_edges(variables));
    torch::autograd::set_history(list(outputs), node);
  });
}

void ct_register_hook(ct_tensor tensor, ct_closure hook) {
  auto closure = std::make_shared<Closure>(hook);
  guarded([&] {
    borrow(tensor).register_hook([closure](const at::Tensor& gradient) {
      auto results = (*closure)({gradient}, 1);
      return results[0].defined() ? results[0] : gradient;
    });
  });
}

void ct_register_post_accumulate_hook(ct_tensor leaf, ct_closure hook) {
  auto closure = std::make_unique<Closure>(hook);
  guarded([&] {
    auto& t = borrow(leaf);
    TORCH_CHECK(t.is_leaf() && t.requires_grad(), "a post-accumulate hook needs a leaf that requires a gradient");
    if (!torch::autograd::impl::post_acc_grad_hooks(t)) {
      torch::autograd::impl::set_post_acc_grad_hooks(t, std::make_unique<PostAccumulateHooks>());
    }
    auto* hooks = dynamic_cast<PostAccumulateHooks*>(torch::autograd::impl::post_acc_grad_hooks(t).get());
    TORCH_CHECK(hooks, "this leaf has a post-accumulate hook of someone else");
    hooks->closures.push_back(std::move(closure));
  });
}
