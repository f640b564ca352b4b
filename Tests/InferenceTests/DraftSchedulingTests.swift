import Inference
import Testing

/// How the scheduler plans drafts and what it makes of what is sampled after them.
@Suite struct DraftSchedulingTests {
  @Test func rightDraftsArePartOfTheResponse() throws {
    var scheduler = try Scheduler(configuration(pageSize: 2))
    try scheduler.submit(request("a", prompt: 3, new: 20))
    _ = scheduler.step(10)
    #expect(scheduler.decoding.map(\.usefulDrafts) == [18])
    let item = scheduler.plan(drafts: ["a": [11, 12, 13]]).plan!.items[0]
    #expect(item.tokens == [10, 11, 12, 13] && item.start == 3 && item.draftCount == 3 && item.sampleCount == 4)
    #expect(item.pages.count == 4)
    #expect(scheduler.complete([[.init(11), .init(12), .init(7)]]) == [])
    try scheduler.checkIntegrity()
    #expect(scheduler.decoding.map(\.tokens) == [[1, 2, 3, 10, 11, 12, 7]])
    // The page of the wrong draft is back.
    #expect(scheduler.freePages == 61)
    let next = scheduler.step(8).plan!.items[0]
    #expect(next.start == 6 && next.tokens == [7] && next.draftCount == 0)
  }

  /// 11 and 21 exclude each other; 12 and 13 follow 11, 22 follows 21.
  @Test func oneWayThroughATreeIsRight() throws {
    var tree: DraftTree = [11, 12]
    tree.add(22, after: tree.add(21, after: -1))
    tree.add(13, after: 0)
    #expect(tree.depths == [1, 2, 1, 2, 2] && tree.branches && tree.parents == [-1, 0, -1, 2, 0])
    #expect(tree.path(along: [21, 22, 5]) == [2, 3] && tree.path(along: [11, 13]) == [0, 4] && tree.path(along: [22]) == [])
    #expect(tree.filter { $0 != 2 } == tree.filter { $0 != 2 && $0 != 3 } && tree.filter { $0 != 2 }.tokens == [11, 12, 13])
    #expect(tree.prefix(3).parents == [-1, 0, -1])
    var scheduler = try Scheduler(configuration(pageSize: 2))
    try scheduler.submit(request("a", prompt: 3, new: 20))
    _ = scheduler.step(10)
    let item = scheduler.plan(drafts: ["a": tree]).plan!.items[0]
    #expect(item.tokens == [10, 11, 12, 21, 22, 13] && item.positions == [3, 4, 5, 4, 5, 5] && item.end == 9)
    #expect(item.pages.count == 5 && item.sampleCount == 6 && item.drafts == tree)
    #expect(scheduler.complete([[.init(21), .init(22), .init(7)]]) == [])
    #expect(scheduler.decoding.map(\.tokens) == [[1, 2, 3, 10, 21, 22, 7]] && scheduler.freePages == 61)
    try scheduler.checkIntegrity()
    // What is too deep to be of use is not run, and what follows it is not either.
    try scheduler.submit(request("b", new: 3))
    _ = scheduler.plan()
    _ = scheduler.complete([[.init(1)], [.init(10)]])
    let short = scheduler.plan(drafts: ["b": tree]).plan!.items[1]
    #expect(short.drafts == tree.filter { tree.depths[$0] == 1 } && short.drafts.tokens == [11, 21])
    _ = scheduler.complete([[.init(1)], [.init(21), .init(8)]])
    try scheduler.checkIntegrity()
  }

  @Test func theEndDropsWhatFollows() throws {
    var scheduler = try Scheduler(configuration(eos: [2]))
    for id in ["eos", "string", "length", "last"] { try scheduler.submit(request(id, new: id == "length" ? 3 : 9)) }
    _ = scheduler.step(10)
    let drafts = Dictionary(uniqueKeysWithValues: ["eos", "string", "length", "last"].map { ($0, [11, 2, 13] as DraftTree) })
    let plan = scheduler.plan(drafts: drafts).plan!
    #expect(plan.items.map(\.draftCount) == [3, 3, 1, 3])
    let actions = scheduler.complete([
      [.init(11), .init(2), .init(13)], [.init(11, stopString: "x"), .init(2)], [.init(11), .init(12)],
      [.init(11, isLast: true), .init(2)],
    ])
    #expect(
      actions == [
        .finish(id: "eos", .stopToken(2)), .finish(id: "string", .stopString("x")), .finish(id: "length", .length(3)),
        .finish(id: "last", .stopToken(11)),
      ])
    #expect(scheduler.freePages == 64)
    try scheduler.checkIntegrity()
  }

  @Test func draftsTakeOnlyWhatIsLeft() throws {
    var scheduler = try Scheduler(configuration(pageSize: 1, pages: 22, running: 3, batchTokens: 6))
    for id in ["a", "b"] { try scheduler.submit(request(id, prompt: 2, new: 6)) }
    _ = scheduler.step(10)
    var prompt = request("c", new: 1)
    prompt.tokens = [7, 8, 9]
    try scheduler.submit(prompt)
    let drafts: [String: DraftTree] = ["a": [1, 2, 3], "b": [1, 2, 3], "c": [1]]
    // The prompt takes three tokens of the budget, the decoding ones a token each.
    #expect(scheduler.plan(drafts: drafts).plan!.items.map(\.draftCount) == [1, 0, 0])
    _ = scheduler.complete([[.init(1), .init(5)], [.init(5)], [.init(5)]])
    // Of the four tokens left "a" can use two, since it ends after three more.
    #expect(scheduler.plan(drafts: drafts).plan!.items.map(\.draftCount) == [2, 2])
    _ = scheduler.complete([[.init(9)], [.init(9)]])
    try scheduler.checkIntegrity()
  }

  @Test func draftsEndWithThePages() throws {
    var limits = configuration(pageSize: 1, pages: 10, running: 2)
    limits.conservativeness = 0.01
    var scheduler = try Scheduler(limits)
    try scheduler.submit(request("a", prompt: 1, new: 8))
    _ = scheduler.step(10)
    try scheduler.submit(GenerateRequest(id: "b", tokens: [5], sampling: request("b").sampling))
    _ = scheduler.step(10)
    // Three positions are computed and two are about to be.
    let plan = scheduler.plan(drafts: ["a": [1, 2, 3], "b": [1, 2, 3]]).plan!
    #expect(plan.items.map(\.draftCount) == [3, 2] && scheduler.freePages == 0)
    #expect(scheduler.complete([[.init(9)], [.init(9)]]) == [])
    #expect(scheduler.freePages == 5)
    try scheduler.checkIntegrity()
  }
}
