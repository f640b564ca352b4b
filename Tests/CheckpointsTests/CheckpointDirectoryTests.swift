import Checkpoints
import Foundation
import TestSupport
import Testing

@Suite struct CheckpointDirectoryTests {
  @Test func onlyCommittedFoldersCount() throws {
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder.appendingPathComponent("run"))
      #expect(try directory.latestIteration() == nil)
      #expect(directory.completeIterations() == [])

      for iteration in [20, 3] {
        let partial = try directory.begin(iteration: iteration)
        try Data("x".utf8).write(to: partial.url.appendingPathComponent("state.json"))
        #expect(!directory.completeIterations().contains(iteration))
        try partial.commit()
      }
      #expect(directory.completeIterations() == [3, 20])
      #expect(directory.folder(iteration: 3).lastPathComponent == "iter_0000003")
      try directory.record(iteration: 20)
      #expect(try directory.latestIteration() == 20)
      #expect(try String(contentsOf: directory.tracker, encoding: .utf8) == "20")

      // A save that dies: its folder is not listed, and the next attempt begins empty.
      let dying = try directory.begin(iteration: 30)
      try Data("x".utf8).write(to: dying.url.appendingPathComponent("half"))
      #expect(directory.completeIterations() == [3, 20])
      let next = try directory.begin(iteration: 30)
      #expect(try FileManager.default.contentsOfDirectory(atPath: next.url.path).isEmpty)
    }
  }

  @Test func aCheckpointCanBeReplaced() throws {
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder)
      for text in ["old", "new"] {
        let partial = try directory.begin(iteration: 1)
        try Data(text.utf8).write(to: partial.url.appendingPathComponent(text))
        try partial.commit()
      }
      let contents = try FileManager.default.contentsOfDirectory(atPath: directory.folder(iteration: 1).path)
      #expect(contents == ["new"])
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["iter_0000001"])
    }
  }

  @Test func aTrackerThatPointsNowhere() throws {
    try withTemporaryFolder { folder in
      let directory = CheckpointDirectory(folder)
      try directory.begin(iteration: 5).commit()
      try directory.record(iteration: 7)
      let absent = #expect(throws: CheckpointError.self) { try directory.latestIteration() }
      #expect(absent?.description == "\(directory.tracker.path): it names iter_0000007, which is not there; "
        + "this folder has iter 5")
      try Data("release\n".utf8).write(to: directory.tracker)
      let word = #expect(throws: CheckpointError.self) { try directory.latestIteration() }
      #expect(word?.description.contains("'release' is no iteration") == true)
    }
  }

  @Test func oddNamesAreNoCheckpoints() throws {
    try withTemporaryFolder { folder in
      for name in ["iter_5", "iter_0000006.partial", "iter_-000001", "iter_00000007", "iter_0000008x"] {
        let url = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      }
      try Data().write(to: folder.appendingPathComponent("iter_0000009"))
      #expect(CheckpointDirectory(folder).completeIterations() == [])
    }
  }
}
