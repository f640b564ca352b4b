import Torch

/// The ways between one rank and its neighbours in the pipeline. The last stage's next is the first (virtual stages).
///
/// Each direction of each way is a group of its own: messages of one arrive in order and wait for nothing else.
public final class PipelineLinks {
  private let fromPrevious, toPrevious, fromNext, toNext: ProcessGroup
  /// The group that shares a tied embedding: first and last stage; nil on the others.
  public let embedding: ProcessGroup?

  /// - Parameter ranks: the stages' ranks, in order; at least two.
  init(
    ranks: [Int], rank: Int, connect: (_ name: String, _ place: Int, _ size: Int) throws -> ProcessGroup
  ) throws {
    let (count, stage) = (ranks.count, ranks.firstIndex(of: rank)!)
    // All ranks join the ways in one order; each way has a sender (place 0) and a receiver.
    var joined: [String: ProcessGroup] = [:]
    func way(_ kind: String, from sender: Int, to receiver: Int) -> String {
      "pipeline \(kind) \(ranks[sender]) to \(ranks[receiver])"
    }
    for (kind, step) in [("forward", 1), ("backward", count - 1)] {
      for sender in 0..<count {
        let receiver = (sender + step) % count
        guard sender == stage || receiver == stage else { continue }
        let name = way(kind, from: sender, to: receiver)
        joined[name] = try connect(name, sender == stage ? 0 : 1, 2)
      }
    }
    let (previous, next) = ((stage + count - 1) % count, (stage + 1) % count)
    fromPrevious = joined[way("forward", from: previous, to: stage)]!
    toNext = joined[way("forward", from: stage, to: next)]!
    fromNext = joined[way("backward", from: next, to: stage)]!
    toPrevious = joined[way("backward", from: stage, to: previous)]!
    let ends = [ranks[0], ranks[count - 1]]
    embedding = try ends.firstIndex(of: rank).map {
      try connect("embedding \(ends[0]),\(ends[1])", $0, 2)
    }
  }

  /// Sending returns at once; the work keeps the tensor until it has gone.
  public func sendToNext(_ activation: Tensor) -> Work { toNext.startSend(activation, to: 1) }
  public func sendToPrevious(_ gradient: Tensor) -> Work { toPrevious.startSend(gradient, to: 1) }
  public func receiveFromPrevious(into activation: Tensor) { fromPrevious.receive(activation, from: 0) }
  public func receiveFromNext(into gradient: Tensor) { fromNext.receive(gradient, from: 0) }
}
