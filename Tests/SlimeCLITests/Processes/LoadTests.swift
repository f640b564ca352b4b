import Foundation
import TestSupport
import Testing

/// What of a checkpoint a run goes on with.
@Suite(.serialized) struct LoadTests {
  @Test(arguments: ["megatron", "fsdp"]) func aRunTakesWhatItIsToldToTake(backend: String) async throws {
    let runs = try TrainingRuns(rollouts: 4)
    let model = fixture("models/llama3-gqa")
    let flags = "--train-backend \(backend) --lr-warmup-iters 8 "
    let whole = try await runs.train(model, flags + "--save whole --save-interval 1 --save-hf hf-{rollout_id}")
    try #require(whole.count == 4)

    let later = try await runs.train(model, flags + "--load whole --ckpt-step 2 --save later")
    #expect(later == Array(whole[2...]))

    // The third step with the first one's learning rate and fresh moments.
    let fresh = try await runs.train(model, flags + "--load whole --ckpt-step 2 --no-load-optim --save fresh")
    #expect(fresh[0]["step"] == 2 && fresh[0]["train/grad_norm"] == whole[2]["train/grad_norm"])
    #expect(fresh.map { $0["train/lr"] } == whole[..<2].map { $0["train/lr"] })
    #expect(fresh[1]["train/grad_norm"] != whole[3]["train/grad_norm"])

    // From the start, with the weights that were exported then.
    let tuned = try await runs.train(model, flags + "--load whole --ckpt-step 2 --finetune --save tuned")
    let exported = try await runs.train(runs.folder.appendingPathComponent("hf-1"), flags + "--save exported")
    #expect(tuned == exported && tuned.count == 4)
    #expect(tuned[0]["train/grad_norm"] != whole[0]["train/grad_norm"])
  }

  @Test func anIterationThatIsNotThereIsNamed() async throws {
    let runs = try TrainingRuns(rollouts: 1)
    let model = fixture("models/llama3-gqa")
    _ = try await runs.train(model, "--save whole")
    for (flags, sentence) in [
      ("--load whole --ckpt-step 7", "whole/iter_0000007 is not there; --load has 1"),
      ("--finetune", "no effect without --load"),
    ] {
      let run = try SlimeProcess(
        ("train --hf-checkpoint \(model.path) --debug-train-only --load-debug-rollout-data rollout-{rollout_id}.jsonl "
          + "--num-rollout 1 --rollout-batch-size 4 --n-samples-per-prompt 2 " + flags).split(separator: " ").map(String.init),
        in: runs.folder)
      #expect(try await run.end() == 2)
      #expect(run.errors.contains(sentence), "\(run.errors)")
    }
  }
}
