import Foundation
import Inference
import JSON
import Rollout
import Testing
import Training

@Suite struct SampleTests {
  static let full = """
    {"group_index":3,"index":13,"rollout_id":null,"prompt":[{"role":"user","content":"2+2?"}],"tokens":[5,6,7,8],
    "response":"4","response_length":2,"label":"4","reward":{"score":1,"acc":true},"loss_mask":[1,0],
    "weight_versions":["7"],"rollout_log_probs":[-0.1,-2.5e-05],"remove_sample":false,"teacher_log_probs":null,
    "status":"truncated","metadata":{"rm_type":"math"},"generate_function_path":null,"custom_rm_path":null,
    "train_metadata":null,"session_id":"s","non_generation_time":0.5,
    "spec_info":{"spec_accept_token_num":3,"spec_draft_token_num":4,"spec_verify_ct":2,"completion_token_num":5},
    "prefix_cache_info":{"cached_tokens":1,"total_prompt_tokens":2},"source":"web","trace":{"a":[1]}}
    """

  @Test func jsonKeepsEveryFieldAndUnknownKeys() throws {
    let json = try JSONValue(parsing: Self.full)
    let sample = try Sample(json: json)
    #expect(sample.groupIndex == 3 && sample.index == 13 && sample.rolloutID == nil)
    #expect(sample.responseTokens == [7, 8] && sample.promptTokens == [5, 6])
    #expect(sample.status == .truncated && sample.rolloutLogProbs == [-0.1, -2.5e-05])
    #expect(sample.extra.keys == ["source", "trace"])
    #expect((sample.speculation.acceptRate, sample.speculation.acceptLength, sample.prefixCache.hitRate) == (0.75, 2.5, 0.5))
    #expect(try Sample(json: sample.json) == sample)
    var written = try #require(sample.json.object)
    written["apply_chat_template_kwargs"] = nil
    #expect(written == json.object)
    // 32-bit log-probabilities are written as the short decimals they were read from.
    #expect(sample.json["rollout_log_probs"]?.text() == "[-0.1,-2.5e-05]")
  }

  @Test(arguments: [
    (#"{"tokens":[1,2],"response_length":3}"#, "response_length"), (#"{"tokens":"a"}"#, "tokens"),
    (#"{"tokens":[1],"response_length":1,"loss_mask":[1,1]}"#, "loss_mask"), (#"{"reward":"x"}"#, "reward"),
    (#"{"tokens":[1],"response_length":1,"rollout_log_probs":[]}"#, "rollout_log_probs"),
    (#"{"status":"done"}"#, "status"), (#"{"tokens":[-1]}"#, "tokens"),
    (#"{"spec_info":{"spec_verify_ct":"x"}}"#, "spec_verify_ct"),
    (#"{"tokens":[1],"response_length":1,"loss_mask":[2]}"#, "loss_mask"), ("[]", "object"),
  ])
  func errorsNameTheField(text: String, field: String) throws {
    let json = try JSONValue(parsing: text)
    let error = #expect(throws: SampleError.self) { try Sample(json: json) }
    #expect(error?.description.contains(field) == true)
  }

  @Test func appendingKeepsMaskAndLogProbsInStep() throws {
    var sample = Sample(prompt: .text("p"))
    sample.tokens = [1, 2]
    try sample.appendResponseTokens([3, 4], logProbs: [-1, -2], text: "ab", finishReason: .stopToken(4), weightVersion: "1")
    #expect(sample.status == .completed)
    try sample.appendResponseTokens([9], trainable: false, text: "[tool]")
    try sample.appendResponseTokens([5], logProbs: [-3], text: "c", finishReason: .length(1), weightVersion: "2")
    #expect(sample.tokens == [1, 2, 3, 4, 9, 5] && sample.responseLength == 4 && sample.response == "ab[tool]c")
    #expect(sample.lossMask == [1, 1, 0, 1] && sample.rolloutLogProbs == [-1, -2, 0, -3])
    #expect(sample.status == .truncated && sample.weightVersions == ["1", "2"])
    let before = sample
    #expect(throws: SampleError.self) { try sample.appendResponseTokens([1], logProbs: []) }
    #expect(throws: SampleError.self) { try sample.appendResponseTokens([1]) }
    #expect(throws: SampleError.self) { try sample.appendResponseTokens([1], logProbs: [0], trainable: false) }
    #expect(sample == before)
    try sample.appendResponseTokens([], logProbs: [], finishReason: .abort("stop"))
    #expect(sample.status == .aborted)
    sample.removeSample = true
    #expect(sample.effectiveLossMask == [0, 0, 0, 0])
  }

  @Test func rewardKeysChooseAmongValues() throws {
    let values = Reward.values(["score": 0.5, "acc": true, "pred": "x"])
    #expect(try Reward.number(2).value(key: nil) == 2)
    #expect(try values.value(key: "score") == 0.5)
    #expect(try values.value(key: "acc") == 1)
    #expect(throws: SampleError.self) { try values.value(key: nil) }
    #expect(throws: SampleError.self) { try values.value(key: "pred") }
    #expect(throws: SampleError.self) { try Reward.number(2).value(key: "score") }
  }
}

@Suite struct RewardNormalizationTests {
  @Test func publishedValues() {
    let grpo = RewardNormalization(advantageEstimator: "grpo")
    let balanced = grpo.apply([1, 0, 0, 1, 1, 1, 0, 0], groupIDs: Array(repeating: 0, count: 8))
    for (value, sign) in zip(balanced, [1, -1, -1, 1, 1, 1, -1, -1]) { #expect(abs(value - 0.9354126 * Double(sign)) < 1e-6) }
    let one = grpo.apply([1, 0, 0, 0], groupIDs: [5, 5, 5, 5])
    for (value, expected) in zip(one, [1.499997, -0.499999, -0.499999, -0.499999]) { #expect(abs(value - expected) < 1e-6) }
  }

  @Test func groupsAreRaggedAndInterleaved() {
    let baseline = RewardNormalization(advantageEstimator: "reinforce_plus_plus_baseline")
    #expect(baseline.apply([1, 9, 3, 5, 2], groupIDs: [0, 1, 0, 2, 0]) == [-1, 0, 1, 0, 0])
    let grpo = RewardNormalization(advantageEstimator: "grpo")
    let scaled = grpo.apply([1, 9, 3, 5, 2], groupIDs: [0, 1, 0, 2, 0])
    let unit = 1 / (1 + 1e-6)
    #expect(scaled == [-unit, 0, unit, 0, 0] as [Double])
  }

  @Test func switchesTurnPartsOff() {
    #expect(RewardNormalization(advantageEstimator: "ppo").apply([1, 3], groupIDs: [0, 0]) == [1, 3])
    #expect(
      RewardNormalization(advantageEstimator: "grpo", disableRewardsNormalization: true).apply([1, 3], groupIDs: [0, 0])
        == [1, 3])
    #expect(
      RewardNormalization(advantageEstimator: "gspo", disableGRPOStandardDeviation: true).apply([1, 3], groupIDs: [0, 0])
        == [-1, 1])
  }
}

@Suite struct TrainBatchFromSamplesTests {
  func sample(_ index: Int, rollout: Int?, mask: [Int]) -> Sample {
    var sample = Sample()
    (sample.index, sample.groupIndex, sample.rolloutID) = (index, index / 2, rollout)
    sample.tokens = [1] + mask.map { _ in 2 }
    (sample.responseLength, sample.lossMask, sample.reward) = (mask.count, mask, .number(Double(index)))
    sample.rolloutLogProbs = mask.map { _ in -1 }
    return sample
  }

  @Test func siblingsShareTheirMaskSum() throws {
    let samples = [
      sample(0, rollout: 4, mask: [1, 0]), sample(1, rollout: 4, mask: [1, 1]), sample(2, rollout: nil, mask: [1]),
      sample(3, rollout: nil, mask: []),
    ]
    let batch = try TrainBatch(rolloutID: 9, samples: samples, rewards: [0.5, -0.5, 0, 0])
    #expect(batch.rolloutMaskSums == [3, 3, 1, 0])
    #expect(Set(batch.rolloutIDs).count == 3 && batch.rolloutIDs[0] == batch.rolloutIDs[1])
    #expect(batch.rawRewards == [0, 1, 2, 3] && batch.rewards == [0.5, -0.5, 0, 0])
    #expect(batch.lossMasks == [1, 0, 1, 1, 1] && batch.responseRanges == [0..<2, 2..<4, 4..<5, 5..<5])
    #expect(batch.rolloutLogProbs?.count == 5)
  }

  @Test func missingPartsAreNamed() {
    var bad = sample(1, rollout: nil, mask: [1])
    bad.rolloutLogProbs = nil
    let samples = [sample(0, rollout: nil, mask: [1]), bad]
    #expect(throws: SampleError.self) { try TrainBatch(rolloutID: 0, samples: samples, rewards: [0, 0]) }
    bad.reward = nil
    #expect(throws: SampleError.self) { try TrainBatch(rolloutID: 0, samples: [bad], rewards: [0]) }
  }
}
