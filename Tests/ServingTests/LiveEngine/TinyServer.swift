import Checkpoints
import Foundation
import Inference
import Serving
import TestSupport
import Tokenization

/// A server with a real engine of the tiny model, as long as `body` runs.
func withTinyServer(
  _ options: EngineOptions = EngineOptions(), _ body: @escaping @Sendable (Client, Tokenizer) async throws -> Void
) async throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
  defer { try? FileManager.default.removeItem(at: folder) }
  try writeTinyModel(to: folder, contextLength: 2048)
  let tokenizer = try Tokenizer(folder: folder)
  let engine = try await onThread { try Engine(folder: HuggingFaceFolder(folder), tokenizer: tokenizer, options: options) }
  let server = Server(
    engine: engine, tokenizer: try ModelPromptEncoder(tokenizer), configuration: ServerConfiguration(port: 0))
  try await server.whileRunning { try await body(Client(port: $0), tokenizer) }
}
