import Orchestration
import RLAlgorithms

extension AlgorithmConfiguration {
  static let flags: [Flag<Self>] = [
    .option("loss-type", \.lossType, "what is minimised"),
    .option("advantage-estimator", \.advantageEstimator, "how"),
    .option("eps-clip", \.clip, "how far the probability ratio may go from 1"),
    .option("eps-clip-high", \.clipHigh, "how far above 1; default --eps-clip"),
    .option("eps-clip-c", \.clipDual, "bound of the loss where advantages are negative, above 1"),
    .option("kl-coef", \.klCoefficient, "KL from the reference in the reward (ppo and reinforce_plus_plus only)"),
    .toggle("use-kl-loss", \.useKLLoss, "KL from the reference in the loss"),
    .option("kl-loss-coef", \.klLossCoefficient, "its weight"),
    .option("kl-loss-type", \.klLossType, "its estimator"),
    .option("ref-update-interval", \.referenceUpdateInterval, "ROLLOUTS", "until the reference is the policy; default never"),
    .option("entropy-coef", \.entropyCoefficient, "weight of the entropy bonus"),
    .option("gamma", \.gamma, "discount (ppo and reinforce_plus_plus only)"),
    .toggle("normalize-advantages", \.normalizeAdvantages, "whiten advantages over the batch"),
    .toggle("disable-rewards-normalization", \.normalizeRewards, sets: false, "keep the mean of a group's rewards"),
    .toggle(
      "disable-grpo-std-normalization", \.normalizeRewardsByDeviation, sets: false, "keep the deviation of a group's rewards"),
    .toggle("calculate-per-token-loss", \.perTokenLoss, "average the loss over tokens instead of rollouts"),
    .toggle("use-tis", \.useTIS, "truncated importance sampling against the engine's log-probs"),
    .option("tis-clip", \.tisClip, "its highest weight"),
    .option("tis-clip-low", \.tisClipLow, "its lowest weight"),
    .toggle("use-rollout-logprobs", \.useRolloutLogProbs, "take the engine's log-probs as the old policy's"),
    .toggle("keep-old-actor", \.keepsOldActor, "compute old log-probs with what the engine samples with"),
    .toggle("disable-compute-advantages-and-returns", \.computesAdvantages, sets: false, "with sft_loss only"),
    .toggle("enable-mtp-training", \.trainsPredictionLayers, "train the layers that NEXTN drafts with, beside the model"),
    .option("mtp-loss-scaling-factor", \.predictionLossScale, "weight of their loss"),
  ]
}

extension CriticConfiguration {
  static let flags: [Flag<Self>] = [
    .option("critic-load", \.load, "FOLDER", "continue it from here, or start it from a model; default critic in --load"),
    .option("critic-save", \.save, "FOLDER", "where its checkpoints go; default critic in --save"),
    .option("critic-lr", \.learningRate, "its peak learning rate; default --lr"),
    .option("critic-lr-warmup-iters", \.warmupSteps, "STEPS", "its linear warmup"),
    .option("critic-num-nodes", \.nodes, "its machines; default --actor-num-nodes"),
    .option("critic-num-gpus-per-node", \.gpusPerNode, "its ranks, on the actor's devices; default the actor's"),
    .option("num-critic-only-steps", \.onlySteps, "ROLLOUTS", "at the beginning, from which it alone learns"),
    .option("value-clip", \.valueClip, "how far a value may go from the old one"),
    .option("lambd", \.lambda, "lambda of generalized advantage estimation"),
  ]
}

extension DistillationConfiguration {
  static let flags: [Flag<Self>] = [
    .toggle("use-opd", \.isOn, "learn from a teacher's log-probs of what the model samples"),
    .option("opd-type", \.type, "what runs the teacher; megatron: the trainer, of either backend"),
    .option("opd-teacher-load", \.teacherLoad, "FOLDER", "Hugging Face folder of the teacher"),
    .option("opd-kl-coef", \.coefficient, "weight of the divergence from the teacher in the advantages"),
  ]
}

extension OptimizerConfiguration {
  static let flags: [Flag<Self>] = [
    .option("optimizer", \.optimizer, "AdamW"),
    .option("lr", \.learningRate, "peak learning rate"),
    .option("min-lr", \.minLearningRate, "learning rate at the end"),
    .option("lr-decay-style", \.decayStyle, "decay"),
    .option("lr-decay-iters", \.decaySteps, "STEPS", "until the end of decay; default the run"),
    .option("lr-warmup-iters", \.warmupSteps, "STEPS", "linear warmup"),
    .option("lr-warmup-fraction", \.warmupFraction, "warmup as a share of --lr-decay-iters"),
    .option("lr-warmup-init", \.warmupInit, "learning rate that warmup starts from"),
    .option("lr-wsd-decay-iters", \.wsdDecaySteps, "STEPS", "annealing of WSD"),
    .option("lr-wsd-decay-style", \.wsdDecayStyle, "annealing"),
    .option("weight-decay", \.weightDecay, "AdamW's decoupled weight decay"),
    .option("adam-beta1", \.beta1, "decay of the mean gradient"),
    .option("adam-beta2", \.beta2, "decay of the mean squared gradient"),
    .option("adam-eps", \.epsilon, "added to the root of the mean squared gradient"),
    .option("clip-grad", \.clipGradient, "NORM", "largest gradient norm; 0: no clipping"),
    .toggle("optimizer-cpu-offload", \.offloadsToHost, "fp32 weights and moments stay in host memory, and are stepped there"),
  ] + precisionFlags + [
    .option("seed", \.seed, "seed of everything random in training"),
  ]
}

extension OptimizerConfiguration {
  static let precisionFlags: [Flag<Self>] = [
    .toggle("use-precision-aware-optimizer", \.isPrecisionAware, "keep bf16 weights and what they lack of fp32, no fp32 copy"),
    .option("main-grads-dtype", \.gradientType, "type that gradients add up in, over micro-batches and ranks"),
    .option("exp-avg-dtype", \.firstMomentType, "type of the mean gradient"),
    .option("exp-avg-sq-dtype", \.secondMomentType, "type of the mean squared gradient"),
    .toggle("accumulate-allreduce-grads-in-fp32", \.accumulatesInFloat32, "the same as --main-grads-dtype fp32"),
  ]
}

extension CheckpointConfiguration {
  static let flags: [Flag<Self>] = [
    .option("hf-checkpoint", \.hfCheckpoint, "FOLDER", "Hugging Face folder of the model to train (required)"),
    .option("custom-model-provider-path", \.modelProvider, "NAME", "library (FILE.so) or registered name of what builds the model"),
    .option("ref-load", \.referenceLoad, "FOLDER", "reference policy; default --hf-checkpoint"),
    .option("load", \.load, "FOLDER", "continue from the last checkpoint in it, if there is one"),
    .option("ckpt-step", \.loadIteration, "ITERATION", "to continue from; default the last"),
    .toggle("no-load-optim", \.loadsOptimizer, sets: false, "optimizer and learning rate begin anew"),
    .toggle("finetune", \.isFineTuned, "begin at rollout 0 with the loaded weights alone"),
    .option("save", \.save, "FOLDER", "where checkpoints and metrics.jsonl go"),
    .option("save-interval", \.saveInterval, "rollouts between checkpoints; default only the last"),
    .toggle("async-save", \.asyncSave, "train on while a checkpoint is written"),
    .toggle("no-save-optim", \.savesOptimizer, sets: false, "leave the optimizer's state out of checkpoints"),
    .option("save-hf", \.saveHF, "FOLDER", "Hugging Face folder with each checkpoint; {rollout_id} is replaced"),
  ]
}

extension DebugConfiguration {
  static let flags: [Flag<Self>] = [
    .option("save-debug-rollout-data", \.saveRolloutData, "FILE", "jsonl of each rollout's samples; {rollout_id} is replaced"),
    .option("load-debug-rollout-data", \.loadRolloutData, "FILE", "train on such samples, without an engine"),
    .toggle("debug-train-only", \.trainOnly, "no engine"),
    .toggle("debug-rollout-only", \.rolloutOnly, "no trainer"),
  ]
}
