import Foundation
import Inference
import Models
import TestSupport
import Testing
import Torch

/// KV caches in a type of their own.
@Suite struct Float8CacheTests {
  private static func engine(_ name: String, _ type: DType?, _ change: (inout EngineOptions) -> Void = { _ in }) throws -> Engine {
    var options = EngineOptions(dtype: .float32, pageSize: 4, cacheBytes: 1 << 18, maxRunningRequests: 32, chunkedPrefillSize: 64)
    options.cacheType = type
    change(&options)
    return try Engine(folder: modelFolder(name), tokenizer: nil, options: options)
  }

  /// The same memory holds four times the tokens of fp32, and twice those of bf16.
  @Test func memoryHoldsMoreTokens() async throws {
    var pages: [Int] = []
    for type in [nil, .bfloat16, .float8e4m3] as [DType?] { pages.append(try await Self.engine("qwen3-tied", type).status().totalPages) }
    #expect(pages[1] == 2 * pages[0] && pages[2] == 4 * pages[0])
    let configuration = try ModelRegistry.configuration(of: modelFolder("deepseek-v3"))
    let (bf16, e4m3) = (
      KVCache.bytesPerToken(configuration, dtype: .bfloat16), KVCache.bytesPerToken(configuration, dtype: .float8e4m3)
    )
    #expect(bf16 == 2 * e4m3)
  }

  /// Log-probabilities with keys and values in e4m3 (3 bits of mantissa) and in bf16 (7) beside those in fp32. Measured: 0.14,
  /// 0.06, 0.08 and 0.23 on average; these models have weights at random, which exaggerate.
  @Test(arguments: [("qwen3-tied", 0.2), ("llama3-gqa", 0.1), ("qwen3-moe", 0.12), ("deepseek-v3", 0.3)])
  func logProbsStayNear(_ name: String, bound: Float) async throws {
    let plain = try Self.engine(name, nil)
    var requests = randomRequests(16, seed: 2, vocabulary: try await plain.status().vocabularySize)
    for i in requests.indices {
      requests[i].sampling = SamplingParameters()
      (requests[i].sampling.maxNewTokens, requests[i].sampling.temperature, requests[i].logProbStart) = (1, 0, 0)
    }
    let wanted = try await generateAll(plain, requests)
    func difference(_ type: DType) async throws -> Float {
      let found = try await generateAll(Self.engine(name, type), requests)
      let all = zip(found, wanted).flatMap { found, wanted in
        zip(found.inputLogProbs.dropFirst(), wanted.inputLogProbs.dropFirst()).map { abs($0.logProb! - $1.logProb!) }
      }
      return all.reduce(0, +) / Float(all.count)
    }
    let (e4m3, bf16) = (try await difference(.float8e4m3), try await difference(.bfloat16))
    #expect(e4m3 < bound && e4m3 > 4 * bf16 && bf16 > 0 && bf16 < bound / 10, "e4m3 \(e4m3), bf16 \(bf16)")
  }

  /// What a token reads is what is stored, also of its own batch: chunks, batches and prefixes do not matter.
  @Test(arguments: ["qwen3-tied", "deepseek-v3"]) func cuttingDoesNotMatter(_ name: String) async throws {
    let plain = try Self.engine(name, .float8e4m3) { ($0.chunkedPrefillSize, $0.maxRunningRequests) = (2048, 1) }
    let requests = randomRequests(24, seed: 3, vocabulary: try await plain.status().vocabularySize)
    var wanted: [GenerateOutput] = []
    for request in requests { wanted.append(try await plain.generate(request)) }
    let other = try Self.engine(name, .float8e4m3) { ($0.chunkedPrefillSize, $0.maxRunningRequests, $0.pageSize) = (7, 7, 3) }
    for _ in 0..<2 {
      for (found, wanted) in zip(try await generateAll(other, requests), wanted) {
        let pairs = zip(found.inputLogProbs + found.outputLogProbs, wanted.inputLogProbs + wanted.outputLogProbs)
        let errors = pairs.map { abs(($0.logProb ?? 0) - ($1.logProb ?? 0)) }
        // A number that lies between two of e4m3 may go the other way where products of other sizes round differently.
        #expect((errors.max() ?? 0) < 2e-2 && (found.outputTokens == wanted.outputTokens), "\(errors.max() ?? 0)")
      }
    }
    try await expectIdle(other)
  }
}
