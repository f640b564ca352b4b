import Foundation
import JSON
import Rollout

/// Sums of two two-digit numbers, split into what is trained on and what is held out. Equal seeds give equal splits.
struct ArithmeticProblems {
  /// For the supervised warm-up: conversations whose answer is `\boxed{…}`.
  let conversations: [JSONValue]
  /// For reinforcement learning: prompts with their labels.
  let prompts: [JSONValue]
  let heldOut: [JSONValue]

  init(seed: Int, heldOutCount: Int = 200, warmUpCount: Int = 4096) {
    let pairs = permutation(of: 90 * 90, seed: seed).map { (10 + $0 / 90, 10 + $0 % 90) }
    func prompt(_ pair: (Int, Int)) -> JSONValue {
      ["prompt": [Self.question(pair)], "label": .string(String(pair.0 + pair.1))]
    }
    heldOut = pairs.prefix(heldOutCount).map(prompt)
    let training = pairs.dropFirst(heldOutCount)
    prompts = training.map(prompt)
    conversations = training.prefix(warmUpCount).map { pair in
      ["prompt": [Self.question(pair), ["role": "assistant", "content": .string("\\boxed{\(pair.0 + pair.1)}")]]]
    }
  }

  private static func question(_ pair: (Int, Int)) -> JSONValue {
    ["role": "user", "content": .string("\(pair.0)+\(pair.1)=")]
  }

  static func write(_ rows: [JSONValue], to file: URL) throws {
    var bytes: [UInt8] = []
    for row in rows {
      row.write(.compact, level: 0, into: &bytes)
      bytes.append(UInt8(ascii: "\n"))
    }
    try Data(bytes).write(to: file)
  }
}
