import Foundation
import JSON
import Rollout
import TestSupport
import Testing

let byteCodec = PromptCodec(
  encode: { $0.utf8.map(Int.init) }, decode: { tokens, _ in tokens.map { "t\($0)" }.joined() },
  render: { conversation, open in
    conversation.messages.map { "<\($0["role"]!.string!)>\($0["content"]?.string ?? "")" }.joined() + (open ? "<assistant>" : "")
      + (conversation.arguments["suffix"]?.string ?? "")
  })

func dataset(
  _ lines: [String], slice: String = "", in folder: URL, _ options: PromptDataset.Options = PromptDataset.Options()
) throws -> PromptDataset {
  let file = folder.appendingPathComponent("data.jsonl")
  try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: file)
  return try PromptDataset(path: file.path + slice, options: options, codec: byteCodec)
}

func numbered(_ count: Int, in folder: URL) throws -> PromptDataset {
  try dataset((0..<count).map { #"{"input":"p\#($0)"}"# }, in: folder)
}

@Suite struct DatasetTests {
  /// Bounds, and what Python's `list(range(6))[lower:upper]` holds.
  static let slices: [(String, [Int])] = [
    ("", [0, 1, 2, 3, 4, 5]), ("@[:]", [0, 1, 2, 3, 4, 5]), ("@[2:]", [2, 3, 4, 5]), ("@[:2]", [0, 1]), ("@[1:4]", [1, 2, 3]),
    ("@[-2:]", [4, 5]), ("@[:-2]", [0, 1, 2, 3]), ("@[-4:-1]", [2, 3, 4]), ("@[-100:2]", [0, 1]), ("@[3:100]", [3, 4, 5]),
    ("@[0:1]", [0]), ("@[-6:-5]", [0]), ("@[4:-1]", [4]),
  ]

  @Test(arguments: slices) func slicesArePythons(slice: String, rows: [Int]) throws {
    try withTemporaryFolder { folder in
      let lines = (0..<6).flatMap { [#"{"input":"p\#($0)"}"#, "  "] }
      let prompts = try dataset(lines, slice: slice, in: folder).prompts
      #expect(prompts.map(\.prompt.text) == rows.map { "p\($0)" })
    }
  }

  @Test func emptySlicesAreErrors() throws {
    try withTemporaryFolder { folder in
      for slice in ["@[4:2]", "@[6:]", "@[:-6]", "@[-1:-2]"] {
        #expect(throws: DatasetError.self) { try dataset((0..<6).map { #"{"input":"p\#($0)"}"# }, slice: slice, in: folder) }
      }
    }
  }

  @Test func errorsNameFileLineAndKey() throws {
    try withTemporaryFolder { folder in
      var labelled = PromptDataset.Options()
      labelled.labelKey = "answer"
      let cases: [([String], PromptDataset.Options, [String])] = [
        ([#"{"input":"a"}"#, "", #"{"text":"b","label":1}"#], PromptDataset.Options(), ["line 3", "'input'", "'text', 'label'"]),
        ([#"{"input":"a"}"#], labelled, ["line 1", "'answer'", "--label-key"]),
        ([#"{"input":"a"}"#, "{"], PromptDataset.Options(), ["line 2"]),
        (["[1]"], PromptDataset.Options(), ["line 1", "an array"]),
        ([#"{"input":[{"role":"user","content":"a"}]}"#], PromptDataset.Options(), ["--apply-chat-template"]),
        ([#"{"input":1}"#], PromptDataset.Options(), ["a number"]),
        ([#"{"input":"a","metadata":"x"}"#], PromptDataset.Options(), ["'metadata'"]),
        ([#"{"input":"a","tools":"x"}"#], PromptDataset.Options(), ["'tools'"]),
      ]
      for (lines, options, words) in cases {
        let error = #expect(throws: DatasetError.self) { try dataset(lines, in: folder, options) }
        for word in ["data.jsonl"] + words { #expect(error?.description.contains(word) == true, "\(word): \(error!)") }
      }
      for path in ["x.parquet", "x.parquet@[1:2]", "x.csv", folder.path + "/none.jsonl"] {
        #expect(throws: DatasetError.self) { try PromptDataset(path: path, options: PromptDataset.Options(), codec: byteCodec) }
      }
    }
  }

  @Test func templatesLabelsAndLongPrompts() throws {
    try withTemporaryFolder { folder in
      var options = PromptDataset.Options()
      (options.labelKey, options.applyChatTemplate, options.maximumPromptLength) = ("label", true, 34)
      options.chatTemplateArguments = ["suffix": "!"]
      let made = try dataset(
        [
          #"{"input":"hi","label":4,"metadata":{"rm_type":"math"},"tools":"[{\"name\":\"f\"}]"}"#,
          #"{"input":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"label":"x"}"#,
          #"{"input":"a very long prompt, much too long","label":""}"#,
        ], in: folder, options)
      #expect(made.prompts.map(\.prompt.text) == ["<user>hi<assistant>!", "<system>s<user>u<assistant>!"])
      #expect(made.prompts.map(\.labelText) == ["4", "x"])
      #expect(made.prompts[0].metadata["rm_type"]?.string == "math")
      #expect(made.prompts[0].metadata["tools"] == [["name": "f"]])
      #expect(made.tooLong == 1)
    }
  }
}

@Suite struct DataSourceTests {
  /// What a source hands out in steps of odd sizes, some of it put back, as (prompt, group, index).
  static func steps(_ source: RolloutDataSource, _ range: Range<Int>) async -> [[String]] {
    var seen: [[String]] = []
    for step in range {
      let groups = await source.groups(step % 4 + 1)
      seen.append(groups.flatMap { $0.map { "\($0.prompt.text!) \($0.groupIndex!) \($0.index!) \($0.responseLength)" } })
      if step % 3 == 0 {
        var back = groups[0]
        for position in back.indices { (back[position].tokens, back[position].responseLength) = ([1, 2, step], 1) }
        await source.putBack([back])
      }
    }
    return seen
  }

  @Test(arguments: [false, true]) func resumesFromAnyPoint(shuffles: Bool) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = try numbered(7, in: folder)
    func source() -> RolloutDataSource { RolloutDataSource(dataset: data, samplesPerPrompt: 2, shuffles: shuffles, seed: 5) }
    let whole = await Self.steps(source(), 0..<24)
    for cut in 0...24 {
      let file = RolloutDataSource.stateFile(in: folder, rolloutID: cut)
      let first = source()
      let before = await Self.steps(first, 0..<cut)
      try await first.save(to: file)
      let second = source()
      try await second.load(from: file)
      #expect(await before + Self.steps(second, cut..<24) == whole)
    }
  }

  @Test func everyEpochHoldsEveryPromptOnceInItsOwnOrder() async throws {
    let data = try withTemporaryFolder { try numbered(50, in: $0) }
    let source = RolloutDataSource(dataset: data, shuffles: true, seed: 1)
    var epochs: [[String]] = []
    for _ in 0..<3 { epochs.append(await source.groups(50).map { $0[0].prompt.text! }) }
    for epoch in epochs { #expect(Set(epoch).count == 50) }
    #expect(Set(epochs).count == 3)
    // The second epoch is the first of a source whose seed is one more.
    let next = RolloutDataSource(dataset: data, shuffles: true, seed: 2)
    #expect(await next.groups(50).map { $0[0].prompt.text! } == epochs[1])
    // This order belongs to the seed for good: a change of it would change resumed runs. Computed with another program.
    #expect(Array(epochs[0].prefix(5)) == ["p49", "p40", "p31", "p10", "p18"])
  }

  @Test func theBufferComesFirst() async throws {
    let data = try withTemporaryFolder { try numbered(4, in: $0) }
    let source = RolloutDataSource(dataset: data)
    let groups = await source.groups(3)
    await source.putBack([groups[2], groups[1]])
    #expect(await source.groups(3).map { $0[0].groupIndex } == [2, 1, 3])
  }

  @Test func foreignStatesAreRefused() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("state.json")
    let four = try numbered(4, in: folder)
    let five = try numbered(5, in: folder)
    try await RolloutDataSource(dataset: four).save(to: file)
    await #expect(throws: DatasetError.self) { try await RolloutDataSource(dataset: five).load(from: file) }
    await #expect(throws: DatasetError.self) { try await RolloutDataSource(dataset: four, shuffles: true).load(from: file) }
    try Data("{\"sample_offset\":9}".utf8).write(to: file)
    await #expect(throws: DatasetError.self) { try await RolloutDataSource(dataset: four).load(from: file) }
  }
}

@Suite struct DebugRolloutDataTests {
  @Test func whatIsSavedIsLoaded() throws {
    try withTemporaryFolder { folder in
      let data = try DebugRolloutData(template: folder.path + "/debug/{rollout_id}.jsonl")
      var sample = try Sample(json: JSONValue(parsing: SampleTests.full))
      sample.reward = .number(1)
      try data.save([sample, sample], rolloutID: 12)
      #expect(data.path(rolloutID: 12).hasSuffix("/debug/12.jsonl"))
      #expect(try data.load(rolloutID: 12) == [sample, sample])
    }
  }

  @Test func fewFieldsAreEnoughAndErrorsNameTheLine() throws {
    try withTemporaryFolder { folder in
      let data = try DebugRolloutData(template: folder.path + "/{rollout_id}.jsonl")
      func load(_ text: String) throws -> [Sample] {
        try Data(text.utf8).write(to: folder.appendingPathComponent("0.jsonl"))
        return try data.load(rolloutID: 0)
      }
      let line = #"{"tokens":[1,2,3],"response_length":2,"reward":1,"group_index":0}"#
      let samples = try load(line + "\n" + line)
      #expect(samples.map(\.index) == [0, 1])
      #expect(samples[1].status == .completed && samples[1].effectiveLossMask == [1, 1] && samples[1].rolloutLogProbs == nil)
      for (bad, field) in [
        (#"{"tokens":[1],"response_length":1,"reward":1}"#, "group_index"),
        (#"{"tokens":[1],"response_length":1,"group_index":1}"#, "reward"),
        (#"{"tokens":[1],"response_length":2,"reward":1,"group_index":1}"#, "response_length"),
        (#"{"tokens":[1.5],"response_length":1,"reward":1,"group_index":1}"#, "tokens"),
        (#"{"tokens":[],"response_length":0,"reward":1,"group_index":1}"#, "tokens"), ("{", "JSON"),
      ] {
        let error = #expect(throws: DatasetError.self) { try load(line + "\n" + bad) }
        for word in ["0.jsonl", "line 2", field] { #expect(error?.description.contains(word) == true, "\(error!)") }
      }
      #expect(throws: DatasetError.self) { try load("") }
      #expect(throws: DatasetError.self) { try DebugRolloutData(template: "x.jsonl") }
    }
  }
}
