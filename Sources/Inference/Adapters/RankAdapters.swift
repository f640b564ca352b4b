import Models
import Torch

/// A rank's part of the adapters: all of them in host memory, and those that batches use side by side on its device.
///
/// `begin` gives every linear layer the terms of a batch, `end` takes them away again.
final class RankAdapters {
  private typealias Factors = Adapter.Factors

  /// The adapters on the device, in the order of their columns.
  private struct Residents {
    let ids: [Int]
    /// Of each parameter; nil: none of them changes it.
    let factors: [Factors?]
    /// Of each parameter, how many columns each of them has.
    let widths: [[Int]]
    /// Whose each column is, as a place among `ids`: by the widths. `[columns]`, int64
    let owners: [[Int]: Tensor]
  }

  private let parameters: [Parameter]
  private let device: Device
  private let dtype: DType
  /// Most adapters on the device.
  private let capacity: Int
  /// Of each adapter and each parameter.
  private var adapters: [Int: [Factors?]] = [:]
  private var residents: Residents?
  private var areSet = false

  init(_ model: CausalLM, dtype: DType, capacity: Int) {
    parameters = model.table.linearWeights
    (device, self.dtype, self.capacity) = (model.parallel.device, dtype, capacity)
  }

  func add(_ adapter: Adapter, id: Int) { adapters[id] = parameters.map { part(of: adapter, $0) } }

  func remove(_ id: Int) {
    adapters[id] = nil
    if residents?.ids.contains(id) == true { residents = nil }
  }

  /// The device's memory is wanted.
  func leaveDevice() { residents = nil }

  /// What of an adapter this rank needs for a parameter, its pieces' factors as one pair: A one below the other, and B in
  /// the rows of each piece, with zeros beside it.
  private func part(of adapter: Adapter, _ parameter: Parameter) -> Factors? {
    let found = parameter.rows.compactMap { piece, rows in
      adapter.factors[piece.checkpointName].map { (factors: part(of: $0, piece), rows: rows) }
    }
    guard !found.isEmpty else { return nil }
    let up = Tensor.zeros([parameter.shape[0], found.reduce(0) { $0 + $1.factors.down.size(0) }], dtype: dtype)
    var column = 0
    for (factors, rows) in found {
      let rank = factors.down.size(0)
      _ = up[rows].narrow(1, start: column, length: rank).copy_(factors.up)
      column += rank
    }
    return Factors(down: Tensor.cat(found.map(\.factors.down), dim: 0), up: up)
  }

  private func part(of factors: Factors, _ piece: ParameterPiece) -> Factors {
    guard let slice = piece.slice else { return factors }
    let range = slice.range(of: piece.shape[slice.dimension])
    func part(_ tensor: Tensor, _ dimension: Int) -> Tensor {
      tensor.narrow(dimension, start: range.lowerBound, length: range.count)
    }
    return slice.dimension == 0
      ? Factors(down: factors.down, up: part(factors.up, 0)) : Factors(down: part(factors.down, 1), up: factors.up)
  }

  // MARK: Batches

  /// Gives the layers what the adapters of a batch add to its rows.
  func begin(_ plan: BatchPlan) {
    let wanted = plan.adapters.filter { adapters[$0] != nil }
    guard !wanted.isEmpty else { return }
    let residents = residents(wanted)
    let places = Dictionary(uniqueKeysWithValues: residents.ids.enumerated().map { ($1, $0) })
    let rows = plan.items.flatMap { item in
      repeatElement(item.adapter.flatMap { places[$0] } ?? -1, count: item.tokens.count)
    }
    let owner = Tensor(rows).sent(to: device).unsqueeze(1)
    let isOther = residents.owners.mapValues { owner.ne($0) }
    for (index, parameter) in parameters.enumerated() {
      guard let factors = residents.factors[index] else { continue }
      parameter.lowRankTerms = LowRankTerms(
        down: factors.down, up: factors.up, isOther: isOther[residents.widths[index]]!)
    }
    areSet = true
  }

  func end() {
    guard areSet else { return }
    for parameter in parameters { parameter.lowRankTerms = nil }
    areSet = false
  }

  /// Adapters on the device, among them the wanted: those that were there stay as far as there is room.
  private func residents(_ wanted: [Int]) -> Residents {
    if let residents, wanted.allSatisfy(residents.ids.contains) { return residents }
    let others = (residents?.ids ?? []).filter { !wanted.contains($0) }
    let new = laid(wanted + others.prefix(max(0, capacity - wanted.count)))
    residents = new
    return new
  }

  private func laid(_ ids: [Int]) -> Residents {
    let widths = parameters.indices.map { index in ids.map { adapters[$0]![index]?.down.size(0) ?? 0 } }
    let factors = parameters.indices.map { index -> Factors? in
      let parts = ids.compactMap { adapters[$0]![index] }
      guard !parts.isEmpty else { return nil }
      return Factors(
        down: Tensor.cat(parts.map(\.down), dim: 0).to(device: device),
        up: Tensor.cat(parts.map(\.up), dim: 1).to(device: device))
    }
    let owners = Dictionary(uniqueKeysWithValues: Set(widths).filter { $0.contains { $0 > 0 } }.map { widths in
      let columns = widths.enumerated().flatMap { place, width in repeatElement(place, count: width) }
      return (widths, Tensor(columns).to(device: device))
    })
    return Residents(ids: ids, factors: factors, widths: widths, owners: owners)
  }
}

extension BatchPlan {
  /// Those that its items use, each once.
  var adapters: [Int] {
    var found: [Int] = []
    for case let adapter? in items.lazy.map(\.adapter) where !found.contains(adapter) { found.append(adapter) }
    return found
  }
}
