import Foundation
import Hummingbird
import Inference
import WeightSync

extension ServerState {
  /// slime's addition to SGLang: deltas of weights are applied to a local checkpoint while requests run, which
  /// /update_weights_from_disk reads then.
  func addPullRoutes(to router: Router<ServingContext>) {
    control("pull_weights", router) { fields, _ in
      try fields.expectOnly(["local_checkpoint_dir", "source_dir", "target_version"])
      guard let local = try fields.string("local_checkpoint_dir"), let source = try fields.string("source_dir"),
        let version = try fields.typed("target_version", "an integer", { $0.int ?? $0.string.flatMap { Int($0) } })
      else { throw InvalidRequest("local_checkpoint_dir, source_dir and target_version are needed.") }
      try await LocalCheckpoint(URL(fileURLWithPath: local)).pull(from: URL(fileURLWithPath: source), version: version)
      return ["message": .string("\(local) holds version \(version).")]
    }
  }
}
