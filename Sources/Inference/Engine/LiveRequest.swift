import Foundation
import Tokenization
import Torch

extension StreamDecoder: IncrementalDecoder {}

/// A request that the engine serves: its output so far, and whom to tell.
final class LiveRequest {
  let request: GenerateRequest
  /// The number of the adapter that it uses.
  let adapter: Int?
  let mailbox: Mailbox
  /// nil: it has none.
  var images: RequestImages?
  private let arrival: ContinuousClock.Instant
  /// What the next token is sampled by.
  private(set) var response: ResponseState
  /// nil: the engine has no tokenizer, and outputs no text.
  private var text: OutputBuilder<StreamDecoder>?
  private var output: GenerateOutput
  private var routedExperts = Data()
  private var bytesPerRoutedToken: Int?
  private var hiddenStates: HiddenStates?
  private var hasStarted = false

  init(
    _ request: GenerateRequest, adapter: Int?, seed: Int, arrival: ContinuousClock.Instant, stop: StopCondition, tokenizer: Tokenizer?,
    constraint: GrammarConstraint?, weightVersion: String, mailbox: Mailbox
  ) {
    (self.request, self.adapter, self.arrival, self.mailbox) = (request, adapter, arrival, mailbox)
    response = ResponseState(request, seed: seed, stop: stop, constraint: constraint)
    text = tokenizer.map {
      OutputBuilder(
        request.sampling, stop: stop,
        decoder: StreamDecoder($0, skipSpecialTokens: request.sampling.skipSpecialTokens))
    }
    output = GenerateOutput(id: request.id)
    output.promptTokens = request.tokens.count
    output.weightVersion = weightVersion
    if request.returnLogProbs, request.logProbStart == 0 {
      addInput(TokenLogProbs(chosen: TokenLogProb(token: request.tokens[0], logProb: nil)))
    }
  }

  /// Prompt and response.
  var tokens: [Int] { request.tokens + output.outputTokens }
  var namespace: CacheNamespace {
    CacheNamespace(extraKey: request.extraKey, cacheSalt: request.cacheSalt, adapter: adapter)
  }

  var logProbRequest: LogProbRequest? {
    request.returnLogProbs ? LogProbRequest(top: request.topLogProbs, tokenIDs: request.tokenIDsLogProb) : nil
  }

  /// What the sampler needs for the token that an item samples, and for those that would follow each draft.
  func samplerRows(_ item: BatchPlan.Item) -> [Sampler.Row] {
    if item.sampledToken != nil { return [response.row(awaited: 1, logProbs: logProbRequest)] }
    var states = [response]
    let drafts = item.drafts
    for (token, parent) in zip(drafts.tokens, drafts.parents) {
      var state = states[parent + 1]
      _ = state.append(token)
      states.append(state)
    }
    return states.map { $0.row(logProbs: logProbRequest) }
  }

  /// Adds a sampled token.
  func append(_ token: Int, _ logProbs: TokenLogProbs?, weightVersion: String) -> SampledToken {
    if output.outputTokens.isEmpty { output.firstTokenLatency = arrival.secondsToNow }
    note(weightVersion)
    output.outputTokens.append(token)
    if let logProbs {
      output.outputLogProbs.append(logProbs.chosen)
      if request.topLogProbs > 0 { output.outputTopLogProbs.append(logProbs.top) }
      if !request.tokenIDsLogProb.isEmpty { output.outputTokenIDsLogProbs.append(logProbs.tokenIDs) }
    }
    let isLast = response.append(token)
    return SampledToken(token, stopString: text?.append(token), isLast: isLast)
  }

  /// Records which weights sampled the next token, as spans once there is more than one version.
  private func note(_ version: String) {
    let count = output.outputTokens.count
    if count > 0, version != output.weightVersion, output.weightVersions.isEmpty {
      output.weightVersions = [WeightVersionSpan(version: output.weightVersion, start: 0, end: count)]
    }
    output.weightVersion = version
    guard let last = output.weightVersions.last else { return }
    if last.version == version {
      output.weightVersions[output.weightVersions.count - 1].end = count + 1
    } else {
      output.weightVersions.append(WeightVersionSpan(version: version, start: count, end: count + 1))
    }
  }

  func addInput(_ logProbs: TokenLogProbs) {
    output.inputLogProbs.append(logProbs.chosen)
    if request.topLogProbs > 0 { output.inputTopLogProbs.append(logProbs.top) }
    if !request.tokenIDsLogProb.isEmpty { output.inputTokenIDsLogProbs.append(logProbs.tokenIDs) }
  }

  /// Whether the response ends with this token, which was added last.
  func ends(with sampled: SampledToken) -> Bool {
    response.stop.reason(outputCount: response.outputCount, sampled: sampled) != nil
  }

  /// Counts a step that ran drafts.
  func noteDrafts(proposed: Int, correct: Int) {
    output.speculation = (output.speculation ?? SpeculationCounts()).adding(proposed: proposed, correct: correct)
  }

  var wantsRoutedExperts: Bool { request.routedExpertsStart != nil }

  /// Records where tokens went: `[tokens, layers, expertsPerToken]`, int32, on the host. What is computed again replaces
  /// what was: it is what later tokens see.
  func note(_ experts: Tensor, position: Int) {
    let bytesPerToken = experts.size(1) * experts.size(2) * MemoryLayout<Int32>.size
    bytesPerRoutedToken = bytesPerToken
    Self.note(experts, position: position, from: request.routedExpertsStart!, bytesPerToken, in: &routedExperts)
  }

  /// Records what the model made of tokens: `[tokens, hiddenSize]`, fp32, on the host. What is computed again replaces what was.
  func note(hidden: Tensor, position: Int) {
    let start = request.hiddenStatesStart!
    var states = hiddenStates
      ?? HiddenStates(values: Data(), size: hidden.size(1), promptCount: request.tokens.count - start)
    hiddenStates = nil
    Self.note(hidden, position: position, from: start, states.size * MemoryLayout<Float>.size, in: &states.values)
    hiddenStates = states
  }

  /// Puts rows, of the tokens from `position` on, in their place in what is kept from `start` on, and drops what follows.
  private static func note(
    _ rows: Tensor, position: Int, from start: Int, _ bytesPerRow: Int, in kept: inout Data
  ) {
    let skipped = max(0, start - position)
    guard skipped < rows.size(0) else { return }
    let first = (position + skipped - start) * bytesPerRow
    rows.narrow(0, start: skipped, length: rows.size(0) - skipped).contiguous().withBytes {
      kept.replaceSubrange(first..<kept.count, with: $0)
    }
  }

  /// The position of the first token of the request in a batch: when it first runs, those before come from the cache.
  func noteStart(_ position: Int) {
    if !hasStarted { output.cachedTokens = position }
    hasStarted = true
  }

  func noteRetraction() { output.retractions += 1 }

  /// Tells a waiting consumer how far the response is; with `always`, also one that will ask later.
  func report(always: Bool = false) {
    guard always || mailbox.isWaiting else { return }
    mailbox.post(snapshot)
  }

  func finish(_ reason: FinishReason) {
    text?.finish(reason)
    output.finishReason = reason
    if let start = request.routedExpertsStart, let bytes = bytesPerRoutedToken {
      let count = request.tokens.count + output.outputTokens.count - 1 - start
      output.routedExperts = routedExperts.prefix(count * bytes)
    }
    if var states = hiddenStates {
      let count = states.promptCount + max(0, output.outputTokens.count - 1)
      states.values = states.values.prefix(count * states.size * MemoryLayout<Float>.size)
      output.hiddenStates = states
    }
    mailbox.end(.success(snapshot))
  }

  private var snapshot: GenerateOutput {
    var snapshot = output
    if let text { snapshot.text = text.text }
    snapshot.endToEndLatency = arrival.secondsToNow
    return snapshot
  }
}

extension ContinuousClock.Instant {
  fileprivate var secondsToNow: Double { duration(to: .now) / .seconds(1) }
}
