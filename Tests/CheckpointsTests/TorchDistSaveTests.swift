import Checkpoints
import Foundation
import TestSupport
import Testing
import Torch

@Suite struct TorchDistSaveTests {
  private func items(_ rank: Int, of ranks: Int, value: Double) -> [SaveItem] {
    [.shard("w", globalShape: [2 * ranks, 3], offsets: [2 * rank, 0], Tensor.full([2, 3], value))]
  }

  private func save(_ iteration: Int, in directory: CheckpointDirectory, value: Double, ranks: Int = 2) throws {
    let coordinator = try TorchDistSave.begin(in: directory, iteration: iteration)
    let contents = try (0..<ranks).map { rank in
      let save = rank == 0 ? coordinator : TorchDistSave.join(directory, iteration: iteration)
      return try save.write(items(rank, of: ranks, value: value), rank: rank)
    }
    try coordinator.finish(contents, common: ["iteration": .int(iteration)])
  }

  private func latest(_ directory: CheckpointDirectory) throws -> Double? {
    guard let iteration = try directory.latestIteration() else { return nil }
    let folder = directory.folder(iteration: iteration)
    #expect(try MegatronFormat.readCommon(in: folder)["iteration"]?.int == iteration)
    try MegatronFormat.checkDescription(of: folder)
    let reader = try TorchDistReader(folder)
    try reader.verify()
    return try reader.tensor("w").mean().item()
  }

  @Test func aFolderAsMegatronHasIt() throws {
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder)
      try save(100, in: directory, value: 1.5)
      #expect(try latest(directory) == 1.5)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        == ["iter_0000100", "latest_checkpointed_iteration.txt"])
      let iteration = directory.folder(iteration: 100)
      #expect(try FileManager.default.contentsOfDirectory(atPath: iteration.path).sorted()
        == [".metadata", "__0_0.distcp", "__1_0.distcp", "common.pt", "metadata.json"])
      #expect(try TorchDistMetadata(in: iteration).checkpointID == iteration.path)
      #expect(MegatronFormat.objectName("rng_state", offset: [0, 1], gridShape: [2, 4]) == "rng_state/shard_0.1_2.4")

      let description = iteration.appendingPathComponent("metadata.json")
      #expect(try String(contentsOf: description, encoding: .utf8)
        == #"{"sharded_backend":"torch_dist","sharded_backend_version":1,"common_backend":"torch","common_backend_version":1}"#)
      try Data(#"{"sharded_backend":"zarr","sharded_backend_version":1}"#.utf8).write(to: description)
      let error = #expect(throws: CheckpointError.self) { try MegatronFormat.checkDescription(of: iteration) }
      #expect(error?.description == "\(description.path): sharded_backend is \"zarr\", expected \"torch_dist\"; convert the "
        + "checkpoint with Megatron-LM")
      try Data(#"{"sharded_backend":"torch_dist"}"#.utf8).write(to: description)
      try MegatronFormat.checkDescription(of: iteration)
    }
  }

  /// The caller goes on while a save is held up, and changes the tensors that it saved copies of.
  @Test func savesInTheBackground() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    let directory = CheckpointDirectory(folder)
    let coordinator = try TorchDistSave.begin(in: directory, iteration: 5)
    let live = Tensor.full([4, 3], 2.0)
    let writing = try (0..<2).map { rank in
      let part = live.narrow(0, start: 2 * rank, length: 2)
      let item = SaveItem.shard("w", globalShape: [4, 3], offsets: [2 * rank, 0], part)
      return coordinator.startWriting(try StagedItems(copying: [item]), rank: rank)
    }
    live.fill_(9)
    let contents = try await [writing[0].value, writing[1].value]
    #expect(writing.allSatisfy { $0.isFinished })
    #expect(try writing[0].wait() == contents[0])
    #expect(try directory.latestIteration() == nil)
    try await coordinator.startFinishing(contents, common: ["iteration": 5]).value
    #expect(try latest(directory) == 2)
  }

  @Test func aTaskRunsBesideItsCaller() throws {
    let gate = DispatchSemaphore(value: 0)
    let task = BackgroundTask("gate") {
      gate.wait()
      return 42
    }
    #expect(!task.isFinished)
    gate.signal()
    #expect(try task.wait() == 42)
    #expect(try task.wait() == 42)
    #expect(task.isFinished)
  }

  /// An error comes at the wait, and the previous checkpoint is the latest one.
  @Test func errorsComeAtTheWait() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    let directory = CheckpointDirectory(folder)
    try save(1, in: directory, value: 1)
    let next = try TorchDistSave.begin(in: directory, iteration: 2)
    try FileManager.default.removeItem(at: next.folder)
    let writing = next.startWriting(try StagedItems(taking: items(0, of: 1, value: 2)), rank: 0)
    let absent = #expect(throws: CheckpointError.self) { try writing.wait() }
    #expect(absent?.description
      == "\(next.folder.path)/__0_0.distcp: cannot create the file: No such file or directory")
    await #expect(throws: CheckpointError.self) { try await writing.value }
    #expect(try latest(directory) == 1)

    // A rank that wrote nothing: the others' shards do not cover the tensor.
    let third = try TorchDistSave.begin(in: directory, iteration: 3)
    let contents = [try third.write(items(0, of: 2, value: 3), rank: 0)]
    let hole = #expect(throws: CheckpointError.self) { try third.finish(contents, common: [:]) }
    #expect(hole?.description == "tensor 'w' of shape [4, 3] has no shard that holds [2:4, 0:3]; no rank wrote it")
    #expect(try latest(directory) == 1)
    #expect(directory.completeIterations() == [1])
    let meta = SaveItem.tensor("w", Tensor.empty([2], device: .meta))
    let device = #expect(throws: CheckpointError.self) { try StagedItems(taking: [meta]) }
    #expect(device?.description == "tensor 'w' is on meta; copy it to the host before it is saved in the background")
    #expect(throws: TorchError.self) { try StagedItems(copying: [meta]) }
    third.discard()
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
      == ["iter_0000001", "latest_checkpointed_iteration.txt"])
    let notTheFirst = TorchDistSave.join(directory, iteration: 3)
    #expect(throws: CheckpointError.self) { try notTheFirst.finish(contents, common: [:]) }
  }

  /// A process that dies at any point of a save leaves what it had written; the next one begins anew.
  @Test func aDeadSaveLeavesThePreviousOne() throws {
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder)
      try save(1, in: directory, value: 1)
      let dying = try TorchDistSave.begin(in: directory, iteration: 2)
      _ = try dying.write(items(0, of: 2, value: 2), rank: 0)
      try Data("half a file".utf8).write(to: dying.folder.appendingPathComponent("__1_0.distcp"))
      #expect(try latest(directory) == 1)
      // Dead after the folder got its name, before the tracker was written.
      let late = try TorchDistSave.begin(in: directory, iteration: 3)
      let contents = try (0..<2).map { try late.write(items($0, of: 2, value: 3), rank: $0) }
      try TorchDistMetadata(merging: contents).write(to: late.folder)
      try FileManager.default.moveItem(at: late.folder, to: directory.folder(iteration: 3))
      #expect(try latest(directory) == 1)
      try save(2, in: directory, value: 2.5)
      #expect(try latest(directory) == 2.5)
      #expect(directory.completeIterations() == [1, 2, 3])
    }
  }
}
