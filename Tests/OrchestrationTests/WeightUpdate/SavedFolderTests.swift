import Checkpoints
import Foundation
import Orchestration
import TestSupport
import Testing
import Torch

/// What trainers save as a Hugging Face folder.
@Suite(.serialized) struct SavedFolderTests {
  /// What the model leaves aside of its folder (a vision tower, layers that predict tokens further on) is there too, and the
  /// copies of embedding and head that such layers come with.
  @Test(arguments: ["models/gemma3-eyes", "prediction/deepseek/model", "prediction/qwen3-next/model"])
  func nothingIsLost(_ name: String) async throws {
    let room = UpdateRoom()
    let (model, saved) = (room.url.appendingPathComponent("model"), room.url.appendingPathComponent("saved"))
    try FileManager.default.copyItem(at: fixture(name), to: model)
    try FileManager.default.copyItem(
      at: fixture("Tokenization/tokenizers/byte/tokenizer.json"), to: model.appendingPathComponent("tokenizer.json"))
    let trainers = try await InProcess.trainers(TrainerLayout(name: "fsdp 2", ranks: 2, backend: .fsdp), model: model)
    try await TrainerGroup(trainers).saveHuggingFace(to: saved, dtype: .float32)
    let (before, after) = (try HuggingFaceFolder(model).weights(), try HuggingFaceFolder(saved).weights())
    #expect(after.names.sorted() == before.names.sorted())
    for name in before.names { #expect(try before.tensor(name).equal(after.tensor(name)), "\(name)") }
  }
}
