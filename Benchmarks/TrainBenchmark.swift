import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Torch
import Training

/// How fast a training backend learns on one device, beside `transformers` on the same weights in the same run.
public enum TrainBenchmark {
  public struct Work: Sendable {
    /// nil: a model of 104 million parameters with random weights.
    public var checkpoint: URL?
    public var usesFSDP = false
    /// Sequences of a step, in one micro-batch, and tokens of each.
    public var sequences = 2
    public var sequenceLength = 4096
    public var device = Device.cpu
    public var dtype = DType.float32
    public var precision = OptimizerPrecision()
    public var attention: AttentionImplementation?
    /// An interpreter with torch and transformers; nil: nothing to compare with.
    public var python: URL?

    public init() {}
  }

  public struct Row: Sendable, Encodable {
    public var name: String
    /// Of one step: forward, backward, optimizer; the median.
    public var secondsPerStep: Double
    public var tokensPerSecond: Double
    /// Floating-point operations a second: 6 · parameters that a token is multiplied with + 6 · layers · heads ·
    /// head dimension · length, a token.
    public var operationsPerSecond: Double
    /// Most bytes of tensors on the GPU; nil on a CPU.
    public var peakBytes: Int?
    /// Weights, gradients and the optimizer's state, bytes a parameter.
    public var stateBytes: Double
    /// Of the first and the last step.
    public var losses: [Double]
  }

  private static let (warmUp, timed) = (3, 5)

  /// - Throws: `BenchmarkError` when the other side fails; what is wrong with the folder.
  public static func run(_ work: Work) throws -> [Row] {
    try Runtime.open(work.device, for: "slime bench train")
    let folder = work.checkpoint ?? FileManager.default.temporaryDirectory.appendingPathComponent("slime-train-" + UUID().uuidString)
    defer { if work.checkpoint == nil { try? FileManager.default.removeItem(at: folder) } }
    if work.checkpoint == nil { try BenchmarkModel.small.write(to: folder) }
    let model = try ModelRegistry.configuration(of: HuggingFaceFolder(folder))
    let table = try model.model(parallel: .single(), dtype: .float32).table
    let parameters = table.parameters.reduce(0) { $0 + $1.count }
    let state = try PlannedRank(
      model, layout: ParallelLayout(worldSize: 1), rank: 0, backend: work.usesFSDP ? .fsdp : .megatron, options: options(work),
      work: PlannedWork(
        batching: .fixed(microBatchSize: 1), globalBatchSize: 1, averageLength: 2, responseLength: 1, dataParallelSize: 1,
        contextParallelSize: 1), device: work.device.kind
    ).memory.state
    let perToken = 6 * multiplied(model, table.parameters)
      + 6 * Double(model.layerCount * model.headCount * model.headDimension * work.sequenceLength)
    var rows = [try slime(folder, work, perToken: perToken, stateBytes: Double(state) / Double(parameters))]
    if let python = work.python {
      for mode in ["eager", "compile"] { rows.append(try transformers(folder, work, python, mode: mode, perToken: perToken)) }
    }
    return rows
  }

  /// Numbers that one token is multiplied with: of experts those that it goes to, of an embedding only what is the head, too.
  private static func multiplied(_ model: ModelConfiguration, _ parameters: [Parameter]) -> Double {
    parameters.reduce(0) { sum, parameter in
      switch parameter.kind {
      case .experts: sum + Double(parameter.count) * Double(model.mixture!.expertsPerToken) / Double(model.mixture!.expertCount)
      case .embedding: sum + (model.tiesEmbeddings ? Double(parameter.count) : 0)
      default: sum + Double(parameter.count)
      }
    }
  }

  private static func options(_ work: Work) throws -> TrainingOptions {
    var options = TrainingOptions(
      schedule: try LearningRateSchedule(peak: 1e-5, decaySteps: 100), globalBatchSize: work.sequences,
      batching: .fixed(microBatchSize: work.sequences))
    (options.loss, options.computeType, options.attention) = (.supervised, work.dtype, work.attention)
    options.precision = work.precision
    return options
  }

  private static func slime(_ folder: URL, _ work: Work, perToken: Double, stateBytes: Double) throws -> Row {
    let options = try options(work)
    let parallel = ParallelContext.single(work.device)
    let model = try HuggingFaceFolder(folder)
    let backend: any TrainBackend = work.usesFSDP
      ? try FSDPBackend(model, options: options, parallel: parallel)
      : try MegatronBackend(model, options: options, parallel: parallel)
    var random = SplitMix64(seed: 1)
    let sequences = (0..<work.sequences).map { _ in
      (tokens: ArraySlice((0..<work.sequenceLength).map { _ in Int32.random(in: 0..<Int32(backend.configuration.vocabularySize), using: &random) }),
        responseLength: work.sequenceLength - 1)
    }
    let pack = PackedBatch(sequences, device: work.device)
    let isOnGPU = work.device.kind == .cuda
    if isOnGPU { try DeviceMemory.resetPeak(of: work.device) }
    var (seconds, losses) = ([Double](), [Double]())
    for _ in 0..<warmUp + timed {
      let start = ContinuousClock.now
      var loss: Tensor?
      try catchingTorchErrors {
        backend.accumulate([pack], temperature: 1) { _, output, _ in
          let mean = -output.perToken.mean()
          loss = mean.detached()
          return mean
        }
        // Whoever reads the norm has waited for the gradients; the step itself is waited for below.
        _ = try backend.applyGradients(learningRate: 1e-5)
      }
      if isOnGPU { try CUDAStream.current(work.device).synchronize() }
      seconds.append((ContinuousClock.now - start) / .seconds(1))
      losses.append(loss!.item())
    }
    return row(
      "slime, " + (work.usesFSDP ? "fsdp" : "megatron"), seconds: Array(seconds.suffix(timed)), losses: losses,
      peakBytes: isOnGPU ? try DeviceMemory.of(work.device).peakAllocated : nil, stateBytes: stateBytes, work, perToken)
  }

  private static func row(
    _ name: String, seconds: [Double], losses: [Double], peakBytes: Int?, stateBytes: Double, _ work: Work, _ perToken: Double
  ) -> Row {
    let step = seconds.sorted()[seconds.count / 2]
    let tokens = Double(work.sequences * work.sequenceLength) / step
    return Row(
      name: name, secondsPerStep: step, tokensPerSecond: tokens, operationsPerSecond: tokens * perToken,
      peakBytes: peakBytes, stateBytes: stateBytes, losses: [losses.first!, losses.last!])
  }

  private struct Answer: Decodable {
    var seconds: [Double]
    var losses: [Double]
    var peak_bytes: Int?
  }

  private static func transformers(_ folder: URL, _ work: Work, _ python: URL, mode: String, perToken: Double) throws -> Row {
    let answer = try JSONDecoder().decode(
      Answer.self,
      from: PythonScript.output(
        python, "transformers_train.py",
        [
          folder.path, work.device.kind == .cuda ? "cuda" : "cpu", work.dtype.name, "\(work.sequences)",
          "\(work.sequenceLength)", "\(warmUp + timed)", mode,
        ]))
    return row(
      "transformers, " + mode, seconds: Array(answer.seconds.suffix(timed)), losses: answer.losses, peakBytes: answer.peak_bytes,
      stateBytes: Double(4 * work.dtype.size), work, perToken)
  }

  public static func table(_ rows: [Row]) -> String {
    let first = rows[0].tokensPerSecond
    return (["run | s/step | tokens/s | slime over it | TFLOP/s | share of 989 | peak GB | state bytes a parameter | losses"] + rows.map { row in
      String(
        format: "%@ | %.3f | %.0f | %.2f | %.1f | %.1f %% | %@ | %.1f | %.4f %.4f", row.name, row.secondsPerStep, row.tokensPerSecond,
        first / row.tokensPerSecond, row.operationsPerSecond / 1e12, row.operationsPerSecond / 989e12 * 100,
        row.peakBytes.map { String(format: "%.1f", Double($0) / 1e9) } ?? "", row.stateBytes, row.losses[0], row.losses[1])
    }).joined(separator: "\n")
  }
}
