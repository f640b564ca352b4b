extension UnsupportedGroup {
  /// slime's own flags that `slime train` does not have.
  static let slime: [UnsupportedGroup] = [
    .init("slime", "a run has one machine: use --actor-num-gpus-per-node and --rollout-num-gpus", ["num-gpus-per-node"]),
    .init("slime", "the trainer's weights stay on the device, and the rest of it goes to the host with --offload-train", ["release-train"]),
    .init("slime", "set variables in the environment of slime itself", [.accept("train-env-vars", "{}")]),
    .init("slime", "use --update-weight-mode delta, which checks what it changes; leave it out", [
      "check-weight-update-equal",
    ]),
    .init("slime", "functions of one's own cannot be named on the command line yet; leave it out", [
      "custom-update-weight-post-write-path", "custom-generate-function-path",
      "rollout-sample-hook-path", "custom-rollout-log-function-path", "custom-eval-rollout-log-function-path",
      "buffer-filter-path", "rollout-data-postprocess-path", "eval-function-path", "custom-loss-function-path",
      "custom-advantage-function-path", "custom-tis-function-path", "custom-pg-loss-reducer-function-path",
      "custom-rm-path", "custom-reward-post-process-path", "custom-convert-samples-to-train-data-path",
      "rollout-sample-filter-path", "rollout-all-samples-process-path", "custom-megatron-init-path",
      "custom-megatron-before-log-prob-hook-path", "custom-megatron-before-train-step-hook-path", "custom-config-path",
      .accept("data-source-path", "slime.rollout.data_source.RolloutDataSourceWithBuffer"),
    ]),
    .init("slime", "all parameters are trained; leave it out", [
      "only-train-params-name-list", "freeze-params-name-list", "freeze-indexer",
    ]),
    .init("slime", "the family is read from config.json; leave it out", [
      "model-name", .accept("qwen-gdn-backend", "fla"),
    ]),
    .init("slime", "log-probs follow --max-tokens-per-gpu; leave it out", [
      .accept("log-probs-chunk-size", "-1"), "log-probs-max-tokens-per-gpu", "recompute-loss-function",
    ]),
    .init("slime", "context parallelism comes with the megatron backend; leave it out", ["allgather-cp"]),
    .init("slime", "engines are started by the run itself; leave it out", [
      .accept("rollout-data-transport", "object-store"), "use-distributed-post", "http-proxy",
    ]),
    .init("slime", "a process that dies ends the run, and --load continues it; leave it out", [
      "use-fault-tolerance", "rollout-health-check-interval", "rollout-health-check-timeout",
      "rollout-health-check-first-wait",
    ]),
    .init("slime", "prompts come from --prompt-data; leave it out", [
      "disable-rollout-global-dataset", "rollout-buffer-url", .accept("fetch-trajectory-retry-times", "-1"),
      .accept("min-batch-collection-ratio", "1"), .accept("rollout-task-type", "math"), "load-forge-rollout-data",
      "load-debug-rollout-data-subsample",
    ]),
    .init("slime", "packs are not padded; leave it out", [.accept("data-pad-size-multiplier", "128")]),
    .init("slime", "give the data sets as --eval-prompt-data NAME FILE", ["eval-config"]),
    .init("slime", "the reference is a Hugging Face folder; leave it out", ["ref-ckpt-step"]),
    .init("slime", "use --num-critic-only-steps", ["critic-train-only"]),
    .init("slime", "use --use-kl-loss with --kl-loss-type k3", ["use-unbiased-kl"]),
    .init("slime", "use --use-tis against off-policy samples", [
      "get-mismatch-metrics", "use-opsm", .accept("opsm-delta", "1e-4"),
    ]),
    .init("slime", "entropy is that of the trainer; leave it out", ["use-rollout-entropy"]),
    .init("slime", "the optimizer keeps its state from step to step; leave it out", [
      "reset-optimizer-states", "use-stateless-adam",
    ]),
    .init("slime", "the teacher is a Hugging Face folder; leave it out", ["opd-teacher-ckpt-step"]),
    .init("slime", "metrics go to the console and to metrics.jsonl in --save; leave it out", [
      "use-wandb", .accept("wandb-mode", "disabled"), "wandb-dir", "wandb-key", "wandb-host", "wandb-team", "wandb-group",
      "wandb-project", "wandb-run-id", "wandb-run-name", "disable-wandb-random-suffix", "wandb-always-use-train-step",
      "use-tensorboard", "tb-project-name", "tb-experiment-name", "tensorboard-dir", "log-multi-turn", "log-passrate",
      "log-reward-category", "log-correct-samples",
    ]),
    .init("slime", "use --save-debug-rollout-data for the samples; there is no other dump or profile", [
      "save-debug-train-data", "dump-details", "memory-snapshot-dir", "memory-snapshot-num-steps", "memory-snapshot-path",
      "profile-target", "memory-recorder", "record-memory-history", "use-pytorch-profiler", "profile-step-start",
      "profile-step-end",
    ]),
    .init("slime", "it belongs to slime's own test machines; leave it out", [
      "ci-test", "ci-disable-kl-checker", "ci-train-rollout-logprob-abs-diff-threshold", "ci-save-grad-norm",
      "ci-load-grad-norm",
    ]),
    .init("slime", "rewards are numbers of --rm-type, one response at a time; leave it out", [
      "group-rm", "rm-url",
    ]),
    .init("slime", "it belongs to the megatron backend; leave it out", [
      "megatron-config-path", "megatron-deepgemm-forward-layers", "megatron-deepgemm-forward-modules",
      "megatron-deepgemm-moe-forward-layers", "megatron-deepgemm-moe-forward-modules", "megatron-to-hf-mode",
      "train-memory-margin-bytes", "disable-weights-backuper",
    ]),
    .init("slime", "batch sizes are fixed by --global-batch-size; leave it out", [
      "use-dynamic-global-batch-size", "disable-rollout-trim-samples",
    ]),
    .init("slime", "use the same --dtype for trainer and engine", ["true-on-policy-mode"]),
    .init("slime", "there is no router: engines are reached directly; leave it out", [
      "use-slime-router", "slime-router-max-connections", "slime-router-timeout",
      "slime-router-health-check-failure-threshold", "slime-router-middleware-paths",
    ]),
    .init("slime's teacher server", "there is no teacher server; leave it out", [
      "teacher-port", "teacher-warmup-port", "teacher-warmup-timeout-s", "teacher-sample-reduction-chunk-size",
      "teacher-label-reduction-chunk-size", "megatron-server-max-length", "megatron-server-update-timeout-s",
      "megatron-server-warmup",
    ]),
  ]
}
