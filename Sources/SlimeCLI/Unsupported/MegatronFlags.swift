extension UnsupportedGroup {
  /// What slime's FSDP backend had of its own, and what this one has not.
  static let fsdp: [UnsupportedGroup] = [
    .init("slime's FSDP backend", "use --lr-warmup-fraction", ["warmup-ratio"]),
    .init("slime's FSDP backend", "a resumed run continues its schedule; leave it out", [
      .accept(switch: "use-checkpoint-lr-scheduler"), "override-lr-scheduler",
    ]),
    .init("slime's FSDP backend", "saves go through host memory anyway; leave it out", [
      .accept(switch: "fsdp-state-dict-cpu-offload"), .accept("fsdp-cpu-backend", "gloo"),
    ]),
    .init("slime's FSDP backend", "write the flags on the command line", ["config"]),
  ]

  /// Megatron-LM's flags that slime's scripts use.
  static let megatron: [UnsupportedGroup] = [
    megatron("use --num-layers-per-virtual-pipeline-stage and --decoder-first/last-pipeline-num-layers", [
      .accept("virtual-pipeline-model-parallel-size", "1"), "microbatch-group-size-per-vp-stage",
      "account-for-embedding-in-pipeline-split", "account-for-loss-in-pipeline-split",
    ]),
    megatron("context parallelism passes keys and values around a ring; leave it out", [.accept("cp-comm-type", "p2p")]),
    megatron("use --recompute-granularity", ["recompute-activations", "recompute-modules"]),
    megatron("dropout does not exist here; leave it out", [
      .accept("attention-dropout", "0"), .accept("hidden-dropout", "0"),
    ]),
    megatron("precision is chosen with --dtype", [
      .accept(switch: "attention-softmax-in-fp32"), "fp8-format", "fp8-recipe", "fp8-param-gather", "fp4-format", "loss-scale",
      "initial-loss-scale", "min-loss-scale", "loss-scale-window", "hysteresis",
    ]),
    megatron("use --use-precision-aware-optimizer --main-grads-dtype bf16", ["grad-reduce-in-bf16"]),
    megatron("trained weights are fp32, beside bf16 ones in 16 bits with --use-precision-aware-optimizer; leave it out", [
      .accept("main-params-dtype", "fp32"),
    ]),
    megatron("the optimizer is sharded by itself, and --optimizer-cpu-offload moves all of it; leave it out", [
      .accept(switch: "use-distributed-optimizer"), .accept("optimizer-offload-fraction", "1", "1.0"),
      "overlap-cpu-optimizer-d2h-h2d", "overlap-grad-reduce", "overlap-param-gather", "use-torch-fsdp2",
      "use-megatron-fsdp", "ddp-bucket-size",
    ]),
    megatron("use --attention-backend", [
      "use-flash-attn", .accept("transformer-impl", "transformer_engine", "local"),
      "no-rope-fusion", "no-bias-swiglu-fusion", "no-masked-softmax-fusion", "no-persist-layer-norm",
      "no-gradient-accumulation-fusion", "cross-entropy-loss-fusion", "cross-entropy-fusion-impl",
    ]),
    megatron("the model is described by config.json; leave it out", [
      "spec", "enable-experimental", "make-vocab-size-divisible-by", "seq-length", "encoder-seq-length", "rope-type",
      "rotary-interleaved", "no-rotary-interleaved", "rotary-seq-len-interpolation-factor", "rope-scaling-factor",
      "rotary-scaling-factor", "mscale", "mscale-all-dim", "beta-fast", "beta-slow", "original-max-position-embeddings",
      "apply-layernorm-1p", "attention-output-gate", "multi-latent-attention", "q-lora-rank", "kv-lora-rank",
      "qk-head-dim", "qk-pos-emb-head-dim", "v-head-dim", "post-self-attn-layernorm", "post-mlp-layernorm",
      "use-gated-attention", "window-size", "window-attn-skip-freq", "softmax-type", "no-rope-freq", "tokenizer-type",
      "tokenizer-model", "vocab-file", "merge-file", "kv-channels-value",
    ]),
    megatron("the router is described by config.json, and no token is dropped; leave it out", [
      "moe-layer-freq", .accept(switch: "moe-grouped-gemm"), .accept(switch: "moe-permute-fusion"), "moe-router-score-function", "moe-router-pre-softmax",
      .accept("moe-router-dtype", "fp32"), .accept("moe-router-bias-update-rate", "0"),
      "moe-router-enable-expert-bias", "moe-router-topk-scaling-factor", "moe-router-group-topk", "moe-router-num-groups",
      .accept("moe-token-dispatcher-type", "alltoall"), "moe-enable-deepep", "moe-flex-dispatcher-backend", "moe-shared-expert-overlap",
      "moe-shared-expert-gate", "moe-token-drop-policy", "moe-expert-capacity-factor",
      "moe-router-padding-for-fp8", "moe-use-legacy-grouped-gemm", "moe-input-jitter-eps",
    ]),
    megatron("checkpoints hold no random state: every draw follows from seeds and its place in the run; leave it out", [
      .accept(switch: "no-load-rng"), .accept(switch: "no-save-rng"),
    ]),
    megatron("--load continues a checkpoint in torch_dist format; leave it out", [
      .accept("ckpt-format", "torch_dist"), "dist-ckpt-strictness",
      "exit-on-missing-checkpoint", "auto-detect-ckpt-format", "ckpt-fully-parallel-save", "use-persistent-ckpt-worker",
      "use-checkpoint-opt_param-scheduler", "use-checkpoint-args", "pretrained-checkpoint", "save-retain-interval",
    ]),
    megatron("the length of the run is set by --num-rollout; leave it out", [
      "train-iters", "train-samples", "lr-decay-samples", "lr-warmup-samples", "lr-wsd-decay-samples", "rampup-batch-size",
      "eval-iters", "exit-interval", "exit-duration-in-mins", "data-path", "split", "num-workers", "dataloader-type",
    ]),
    megatron("a step with a gradient that is not finite is never taken; leave it out", [
      .accept(switch: "check-for-nan-in-loss-and-grad"), "no-check-for-nan-in-loss-and-grad", "rerun-mode",
    ]),
    megatron("weight decay is constant; use --weight-decay", [
      "start-weight-decay", "end-weight-decay", .accept("weight-decay-incr-style", "constant"), "decoupled-lr",
      "decoupled-min-lr", "sgd-momentum",
    ]),
    megatron("every optimizer step is logged; leave it out", [
      "log-interval", "log-throughput", "log-params-norm", "log-num-zeros-in-grad", "timing-log-level", "profile",
      "tensorboard-log-interval",
    ]),
  ]

  private static func megatron(_ remedy: String, _ flags: [UnsupportedFlag]) -> UnsupportedGroup {
    UnsupportedGroup("Megatron-LM", remedy, flags)
  }
}
