import Inference

extension Sample {
  /// Adds tokens to the response and keeps the mask and log-probabilities in step.
  ///
  /// Sampled tokens (`trainable`) come with one log-probability each. Others, such as tool output, come with none: they get
  /// 0 and are masked.
  /// - Parameters:
  ///   - finishReason: Decides the status: length → truncated, abort → aborted, a stop → completed, nil → unchanged.
  /// - Throws: `SampleError` when the log-probabilities do not fit, with the sample unchanged.
  public mutating func appendResponseTokens(
    _ new: [Int], logProbs: [Float]? = nil, trainable: Bool = true, text: String = "", finishReason: FinishReason? = nil,
    weightVersion: String? = nil
  ) throws(SampleError) {
    if let logProbs, logProbs.count != new.count {
      throw SampleError("\(new.count) response tokens came with \(logProbs.count) log-probabilities")
    }
    if trainable, logProbs == nil, !new.isEmpty {
      throw SampleError("sampled response tokens need their log-probabilities; request them from the engine")
    }
    if !trainable, logProbs != nil {
      throw SampleError("response tokens that were not sampled have no log-probabilities")
    }
    if responseLength > 0, rolloutLogProbs == nil, trainable, !new.isEmpty {
      throw SampleError("the response so far has no log-probabilities, so sampled tokens cannot be added to it")
    }
    if !new.isEmpty {
      let mask = lossMask ?? Array(repeating: 1, count: responseLength)
      lossMask = mask + Array(repeating: trainable ? 1 : 0, count: new.count)
      if rolloutLogProbs != nil || responseLength == 0 {
        rolloutLogProbs = (rolloutLogProbs ?? []) + (logProbs ?? Array(repeating: 0, count: new.count))
      }
      tokens += new
      responseLength += new.count
    }
    response += text
    if let weightVersion { weightVersions.append(weightVersion) }
    switch finishReason {
    case .length: status = .truncated
    case .abort: status = .aborted
    case .stopToken, .stopString: status = .completed
    case nil: break
    }
  }
}
