import Foundation
import Parallelism
import Training

extension Plan {
  /// What `slime plan` prints.
  public var report: String {
    let sizes = [
      ("tensor", layout.tensorParallelSize), ("context", layout.contextParallelSize),
      ("pipeline", layout.pipelineParallelSize), ("expert", layout.expertParallelSize),
      ("data", layout.dataParallelSize),
    ].filter { $0.1 > 1 }.map { "\($0.0) \($0.1)" }.joined(separator: " × ")
    let tokens = work.lengths.reduce(0, +)
    let lines = [
      "\(model.modelType), \(billions(Double(parameterCount))) parameters, on \(layout.worldSize) ranks"
        + (sizes.isEmpty ? "" : " (\(sizes))"),
      "a step of each data-parallel rank: \(work.microBatches) micro-batches of \(tokens) tokens "
        + "(\(work.lengths.count) sequences)\(model.mixture == nil ? "" : ", experts equally busy")",
      "",
      table,
    ]
    return (lines + summary).joined(separator: "\n")
  }

  private var summary: [String] {
    let gpu = configuration.gpu
    guard configuration.train.backend.device == .cuda else { return [] }
    let operations = step.seconds * gpu.accelerator.peak
    let share = (ranks.map { $0.operations }.max() ?? 0) / max(operations, 1)
    return [
      "",
      "pipeline bubble: \(percent(step.bubbleShare))",
      "expected step on \(gpu.rawValue) at \(Int(configuration.network)) Gbit/s between machines: "
        + "\(seconds(step.seconds)), \(percent(share)) of the GPUs' peak, recomputation included",
    ]
  }

  private var table: String {
    let kinds = Set(ranks.flatMap(\.sentBytes.keys)).sorted()
    var rows: [[String]] = [["stage"] + ranks.map { "\($0.stage)" }]
    func add(_ name: String, _ value: (Int, PlannedRank) -> String) {
      rows.append([name] + ranks.enumerated().map { value($0, $1) })
    }
    add("rank") { "\($1.rank)" }
    add("layers") { $1.layers.map { "\($0.lowerBound)-\($0.upperBound - 1)" }.joined(separator: " ") }
    add("parameters") { billions(Double($1.parameterCount)) }
    rows.append(["memory, GiB"])
    for (index, part) in PlannedMemory().parts.enumerated()
    where ranks.contains(where: { $0.memory.parts[index].bytes > 0 }) {
      add("  " + part.name) { gibibytes($1.memory.parts[index].bytes) }
    }
    add("  peak") { gibibytes($1.memory.total) }
    if ranks.contains(where: { $0.memory.onHost > 0 }) { add("  in the host's memory") { gibibytes($1.memory.onHost) } }
    add("TFLOP a step") { decimals($1.operations / 1e12, 1) }
    if !kinds.isEmpty { rows.append(["sent a step, GiB"]) }
    for kind in kinds { add("  " + Self.title(kind)) { gibibytes(Int($1.sentBytes[kind] ?? 0)) } }
    if configuration.train.backend.device == .cuda {
      rows.append(["time of a step"])
      let parts: [(String, KeyPath<StepTime, Double>)] = [
        ("matrix products", \.products), ("element-wise", \.elements), ("messages", \.messages),
        ("optimizer", \.optimizer), ("waiting", \.bubble), ("all", \.total),
      ]
      for (name, path) in parts { add("  " + name) { index, _ in seconds(times[index][keyPath: path]) } }
    }
    return Self.aligned(rows)
  }

  /// What a kind of group is called in the table.
  private static func title(_ kind: String) -> String {
    switch ParallelGroup(rawValue: kind) {
    case .dataContext: "data"
    case .expertTensor: "expert tensor"
    case .expertData: "expert data"
    case .shard: "data (shards)"
    case .replicas: "data (copies)"
    default: kind
    }
  }

  /// Names to the left, numbers to the right.
  private static func aligned(_ rows: [[String]]) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max()! }
    return rows.map { row in
      row.enumerated().map { column, cell in
        let space = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + (row.count > 1 ? space : "") : space + cell
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }
}

private func decimals(_ value: Double, _ count: Int) -> String { String(format: "%.\(count)f", value) }

private func percent(_ share: Double) -> String { decimals(share * 100, 1) + " %" }

private func seconds(_ time: Double) -> String { decimals(time, time < 1 ? 3 : 1) + " s" }

/// 671.0 B, 596.0 M.
func billions(_ count: Double) -> String {
  count >= 1e9 ? decimals(count / 1e9, 2) + " B" : decimals(count / 1e6, 2) + " M"
}
