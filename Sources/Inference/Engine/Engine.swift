import Checkpoints
import Foundation
import Grammars
import Models
import Tokenization
import Torch

/// Serves requests with a model on one machine: continuous batching over a paged KV cache.
///
/// All tensors live on one thread of the engine's own, which sleeps when there is nothing to do. Everyone else talks to it
/// through a bounded queue, so no method here blocks the caller's thread but `init`.
public final class Engine: UpdatableEngine {
  private static let maxQueuedRequests = 1 << 16

  private let queue = CommandQueue<Command>(capacity: maxQueuedRequests)
  private let grammars: GrammarCompiler
  private let images: ImagePreparer
  let stage: WeightStage
  /// nil: the engine takes no adapters.
  let adapterLoader: AdapterLoader?

  /// Loads the model; returns when the engine is ready, so it should not be called on Swift's cooperative threads.
  /// - Parameter tokenizer: nil: outputs have no text, and stop strings and grammars are refused.
  /// - Throws: `ModelError`, `CheckpointError` or `EngineError` about what is wrong with the folder or the options.
  public init(folder: HuggingFaceFolder, tokenizer: Tokenizer?, options: EngineOptions = EngineOptions()) throws {
    let ready = DispatchSemaphore(value: 0)
    let failure = Handover<(any Error)?>(nil)
    let vocabulary = Handover((size: 0, endOfSequence: Set<Int>()))
    let places = Handover<ModelWeights?>(nil)
    let configuration = Handover<ModelConfiguration?>(nil)
    let loader = Handover<AdapterLoader?>(nil)
    let shards = Handover<[[WeightShard]]>([])
    let queue = queue
    let thread = Thread {
      withoutGradients {
        let core: EngineCore
        do {
          core = try EngineCore(folder, tokenizer: tokenizer, options: options)
          places.value = try ModelWeights(
            core.model.configuration, dtype: core.ranks.runner.dtype, device: core.model.parallel.device)
          configuration.value = core.model.configuration
          loader.value = try options.adapters.map {
            try AdapterLoader(core.model.configuration, dtype: core.ranks.runner.dtype, options: $0)
          }
          shards.value = try EngineShards(
            core.model.configuration, dtype: core.ranks.runner.dtype, core.model.parallel.layout).ranks
        } catch {
          failure.value = error
          ready.signal()
          return
        }
        vocabulary.value = (core.model.configuration.vocabularySize, core.scheduler.configuration.endOfSequence)
        ready.signal()
        Self.serve(core, queue)
      }
    }
    thread.name = "engine"
    thread.stackSize = 8 << 20
    thread.start()
    ready.wait()
    grammars = GrammarCompiler(
      tokenizer, vocabularySize: vocabulary.value.size, endOfSequence: vocabulary.value.endOfSequence)
    if let error = failure.value { throw error }
    images = ImagePreparer(configuration.value!)
    stage = WeightStage(
      places.value!, shards: shards.value, devices: shards.value.indices.map(options.device(ofRank:)),
      patience: options.weightUpdatePatience)
    adapterLoader = loader.value
  }

  deinit { shutDown() }

  /// Ends all requests with an error and lets the model's memory go. Later requests fail.
  public func shutDown() { queue.close() }

  private typealias Command = @Sendable (EngineCore) -> Void

  private static func serve(_ core: EngineCore, _ queue: CommandQueue<Command>) {
    while true {
      let (commands, isClosed) = queue.take(wait: !core.hasWork)
      for command in commands { command(core) }
      if isClosed { return core.shutDown() }
      if core.hasWork { core.step() }
    }
  }

  // MARK: Requests

  public func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    let handle = submit(request, wantsUpdates: true)
    return AsyncThrowingStream { try await handle.next() }
  }

  /// The finished output of one request, without the cost of updates in between.
  public func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    guard let output = try await submit(request, wantsUpdates: false).next() else { throw CancellationError() }
    return output
  }

  private func submit(_ request: GenerateRequest, wantsUpdates: Bool) -> StreamHandle {
    let mailbox = Mailbox(wantsUpdates: wantsUpdates)
    let arrival = ContinuousClock.now
    let post: @Sendable (GenerateRequest, RequestImages?, TokenGrammar?, _ isAborted: Bool) -> Void = {
      [queue] request, images, grammar, isAborted in
      let outcome = queue.post { core in
        core.submit(request, grammar: grammar, images: images, arrival: arrival, to: mailbox)
        if isAborted { core.cancel(request.id, mailbox) }
      }
      switch outcome {
      case .accepted: break
      case .full:
        mailbox.end(
          .failure(EngineError("The engine has \(Self.maxQueuedRequests) requests to look at; send fewer at a time.")))
      case .closed: mailbox.end(.failure(Self.stopped))
      }
    }
    let compile: @Sendable (GenerateRequest, RequestImages?, _ isAborted: Bool) -> Void = { [grammars] request, images, wasAborted in
      guard let source = request.sampling.grammar else { return post(request, images, nil, wasAborted) }
      grammars.prepare(source, for: request.id) { result, isAborted in
        switch result {
        case .success(let grammar): post(request, images, grammar, wasAborted || isAborted)
        case .failure(let error): mailbox.end(.failure(error))
        }
      }
    }
    if request.images.isEmpty {
      compile(request, nil, false)
    } else {
      images.prepare(request) { result, isAborted in
        switch result {
        case .success(let prepared): compile(prepared.request, prepared.images, isAborted)
        case .failure(let error): mailbox.end(.failure(error))
        }
      }
    }
    // The engine lives as long as its streams do.
    return StreamHandle(mailbox) { [self] in _ = queue.post(always: true) { $0.cancel(request.id, mailbox) } }
  }

  public func abort(_ id: String?) async {
    images.abort(id)
    grammars.abort(id)
    try? await perform { $0.abort(id) }
  }

  public func flushCache() async -> Bool { (try? await perform { $0.flushCache() }) ?? false }

  public func status() async throws -> EngineStatus { try await perform { $0.status } }

  public func pause(_ mode: PauseMode) async throws { try await perform { $0.pause(mode) } }

  public func resume() async throws { try await perform { $0.resume() } }

  /// - Throws: `PageAccountingError` when a KV page leaked or has two owners.
  public func checkIntegrity() async throws { try await perform { try $0.checkIntegrity() } }

  // MARK: The thread

  private static let stopped = EngineError("The engine was shut down.")

  /// Runs `body` on the engine's thread, between two steps, while the device runs none.
  func perform<Value: Sendable>(_ body: @escaping @Sendable (EngineCore) throws -> Value) async throws -> Value {
    try await performAnswering { core, answer in answer(Result { try body(core) }) }
  }

  /// The same for what is answered later, still on the engine's thread.
  func performAnswering<Value: Sendable>(
    _ body: @escaping @Sendable (EngineCore, @escaping @Sendable (Result<Value, any Error>) -> Void) -> Void
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      let outcome = queue.post(always: true) { core in
        core.drain()
        body(core) { continuation.resume(with: $0) }
      }
      if outcome == .closed { continuation.resume(throwing: Self.stopped) }
    }
  }
}

/// A value that one thread leaves for another, which looks only after it was told to.
private final class Handover<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}
