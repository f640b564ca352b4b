import JSON

/// Supervised fine-tuning's rollout: conversations from the dataset, masked, in the place of generated samples.
public struct SupervisedRollout: Sendable {
  let masks: LossMaskGenerator
  let chatTemplateArguments: JSONObject

  public init(masks: LossMaskGenerator, chatTemplateArguments: JSONObject = [:]) {
    (self.masks, self.chatTemplateArguments) = (masks, chatTemplateArguments)
  }

  /// The next conversations of a source. A sample's response begins at its first trained token;
  /// its reward is 0.
  /// - Throws: `SampleError` naming the sample.
  public func generate(count: Int, from source: any DataSource) async throws -> [Sample] {
    try await source.groups(count).flatMap { $0 }.map(masked)
  }

  /// A sample of messages with tokens and loss mask.
  public func masked(_ sample: Sample) throws -> Sample {
    var sample = sample
    do {
      guard case .messages(let messages) = sample.prompt else {
        throw SampleError("supervised fine-tuning needs an array of messages, not a text")
      }
      let masked = try masks.tokenize(
        Conversation(messages: messages, tools: sample.metadata["tools"]?.array, arguments: chatTemplateArguments))
      guard let first = masked.mask.firstIndex(of: 1) else { throw SampleError("no token of the conversation is trained on") }
      sample.tokens = masked.tokens
      sample.lossMask = Array(masked.mask[first...])
      sample.responseLength = masked.mask.count - first
      (sample.reward, sample.status) = (.number(0), .completed)
    } catch {
      throw SampleError("sample \(sample.index ?? 0): \(error)")
    }
    return sample
  }
}
