import Foundation

/// The ids of the requests that one HTTP request becomes.
///
/// A name given for several of them is a prefix: `x` becomes `x_0`, `x_1`, …, and aborting `x` aborts them all.
struct RequestNames {
  enum Given {
    case none
    case one(String)
    case each([String])
  }

  /// All samples of a prompt in a row.
  private(set) var ids: [String] = []
  private(set) var groups: [String: [String]] = [:]

  init(_ given: Given, prompts: Int, samples: Int, isBatch: Bool) {
    switch given {
    case .none: ids = (0..<prompts * samples).map { _ in Self.unique() }
    case .one(let name) where !isBatch && samples == 1: ids = [name]
    case .one(let name): add(name, count: prompts * samples)
    case .each(let names) where samples == 1: ids = names
    case .each(let names): for name in names { add(name, count: samples) }
    }
  }

  /// 32 hexadecimal digits.
  static func unique() -> String { UUID().uuidString.filter { $0 != "-" }.lowercased() }

  private mutating func add(_ name: String, count: Int) {
    let members = (0..<count).map { "\(name)_\($0)" }
    groups[name] = members
    ids += members
  }
}
