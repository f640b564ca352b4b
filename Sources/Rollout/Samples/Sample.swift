import Foundation
import JSON

/// One prompt and what became of it: the unit that travels from the dataset through generation and reward to training.
///
/// Fields are those of slime's `Sample`; in JSON they have slime's names (`group_index`, `response_length`, …).
public struct Sample: Sendable, Equatable {
  public enum Status: String, Sendable, CaseIterable {
    case pending, completed, truncated, aborted
    /// Something outside of generation failed (a tool, a parser); the response may still be used.
    case failed
  }

  /// Samples of one prompt share it.
  public var groupIndex: Int?
  /// Unique in a run, in dataset order.
  public var index: Int?
  /// Samples that one rollout fanned out into share it, and count as one in the loss.
  public var rolloutID: Int?
  public var prompt: Prompt
  /// Where the prompt's pictures are, in the order of their places in it: paths, file URLs or data URIs.
  public var images: [String] = []
  /// Prompt and response, as the engine saw and sampled them.
  public var tokens: [Int] = []
  public var response = ""
  /// How many of the last `tokens` are the response.
  public var responseLength = 0
  /// What the reward compares with: whatever the dataset holds under the label key.
  public var label: JSONValue?
  public var reward: Reward?
  /// 1 for each response token that is trained on; nil: all are.
  public var lossMask: [Int]?
  /// The version of the weights of each generation call.
  public var weightVersions: [String] = []
  /// Log-probability of each response token when it was sampled; 0 for those that were not sampled.
  public var rolloutLogProbs: [Float]?
  public var teacherLogProbs: [Float]?
  /// The experts of each layer that the tokens but the last went to in the engine: little-endian int32, `[tokens − 1,
  /// layers, expertsPerToken]`.
  public var rolloutRoutedExperts: Data?
  /// Takes part in group statistics, but is not trained on.
  public var removeSample = false
  public var status = Status.pending
  public var metadata = JSONObject()
  public var chatTemplateArguments: JSONObject?
  /// Overrides of the generate and reward functions, by name.
  public var generateFunctionPath: String?
  public var customRewardPath: String?
  public var trainMetadata: JSONObject?
  public var sessionID: String?
  /// Seconds spent on something other than generation (tools, sandboxes).
  public var nonGenerationTime = 0.0
  public var speculation = SpeculationCounts()
  public var prefixCache = PrefixCacheCounts()
  /// Keys of the JSON form that have no field here.
  public var extra = JSONObject()

  public init(prompt: Prompt = .text("")) { self.prompt = prompt }

  public var promptTokens: ArraySlice<Int> { tokens.dropLast(responseLength) }
  public var responseTokens: ArraySlice<Int> { tokens.suffix(responseLength) }

  /// The label as text: a string as it is, anything else as JSON.
  public var labelText: String? { label.map { $0.string ?? $0.text() } }

  /// Each response token's mask, with `removeSample` applied.
  public var effectiveLossMask: [Int] {
    removeSample ? Array(repeating: 0, count: responseLength) : lossMask ?? Array(repeating: 1, count: responseLength)
  }

  /// Forgets everything that generation and reward have added.
  public mutating func reset() {
    var fresh = Sample(prompt: prompt)
    (fresh.groupIndex, fresh.index, fresh.label, fresh.images) = (groupIndex, index, label, images)
    (fresh.metadata, fresh.trainMetadata, fresh.extra) = (metadata, trainMetadata, extra)
    (fresh.chatTemplateArguments, fresh.sessionID) = (chatTemplateArguments, sessionID)
    (fresh.generateFunctionPath, fresh.customRewardPath) = (generateFunctionPath, customRewardPath)
    self = fresh
  }
}

/// What is asked: text for the tokenizer, or messages for the chat template.
public enum Prompt: Sendable, Equatable {
  case text(String)
  case messages([JSONValue])

  public var text: String? { if case .text(let text) = self { text } else { nil } }
}

/// A score, or several by name of which `--reward-key` chooses one.
public enum Reward: Sendable, Equatable {
  case number(Double)
  case values(JSONObject)

  /// - Throws: `SampleError` when the key does not fit.
  public func value(key: String?) throws(SampleError) -> Double {
    switch (self, key) {
    case (.number(let value), nil): return value
    case (.number, let key?):
      throw SampleError("the reward is a single number, so --reward-key \(key) has nothing to choose from; leave it out")
    case (.values(let values), nil):
      throw SampleError("the reward has several values (\(values.keys.joined(separator: ", "))); choose one with --reward-key")
    case (.values(let values), let key?):
      guard let value = values[key]?.double ?? values[key]?.bool.map({ $0 ? 1 : 0 }) else {
        throw SampleError("the reward has no number '\(key)'; it has \(values.keys.joined(separator: ", "))")
      }
      return value
    }
  }
}

/// Counts of speculative decoding, summed over a sample's generation calls.
public struct SpeculationCounts: Sendable, Equatable {
  public var acceptedTokens = 0
  public var draftedTokens = 0
  public var verifications = 0
  public var completionTokens = 0

  public init() {}
  public var acceptRate: Double { draftedTokens > 0 ? Double(acceptedTokens) / Double(draftedTokens) : 0 }
  public var acceptLength: Double { verifications > 0 ? Double(completionTokens) / Double(verifications) : 0 }
}

/// How much of the prompts was found in the engine's prefix cache.
public struct PrefixCacheCounts: Sendable, Equatable {
  public var cachedTokens = 0
  public var promptTokens = 0

  public init() {}
  public var hitRate: Double { promptTokens > 0 ? Double(cachedTokens) / Double(promptTokens) : 0 }
}

/// A sample whose parts contradict each other, in one sentence.
public struct SampleError: Error, Equatable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}
