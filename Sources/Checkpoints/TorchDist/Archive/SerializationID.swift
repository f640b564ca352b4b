/// The fingerprint that `torch.save` puts into a file: 20 digits for its entries' names and 20 for their checksums.
///
/// PyTorch folds the hashes of the names in the order of a C++ `unordered_set`, so it is computed as GCC's library would.
/// No reader depends on it; but with it, our files are PyTorch's to the byte, and a test can say so.
package enum SerializationID {
  /// An entry of an archive, without the archive's folder; only one that has data has a checksum.
  package typealias Record = (name: String, checksum: UInt32?)

  package static func digits(of records: [Record]) -> String {
    let names = HashOrder.order(of: records.map { hash($0.name) }).reduce(into: UInt64(0)) { $0 = combine($0, $1) }
    let checksums = records.compactMap(\.checksum).reduce(into: UInt64(0)) { $0 = combine($0, UInt64($1)) }
    return padded(names) + padded(checksums)
  }

  private static func padded(_ number: UInt64) -> String {
    let digits = String(number)
    return String(repeating: "0", count: 20 - digits.count) + digits
  }

  private static func combine(_ seed: UInt64, _ value: UInt64) -> UInt64 {
    seed ^ (value &+ 0x9E37_79B9 &+ (seed << 6) &+ (seed >> 2))
  }

  /// Murmur hash 2 for 64 bits (Appleby), with the seed of `std::hash`.
  private static func hash(_ text: String) -> UInt64 {
    let multiplier: UInt64 = 0xC6A4_A793_5BD1_E995
    func mixed(_ value: UInt64) -> UInt64 { value ^ (value >> 47) }
    let bytes = Array(text.utf8)
    var hash = 0xC70F_6907 ^ (UInt64(bytes.count) &* multiplier)
    for start in stride(from: 0, to: bytes.count, by: 8) {
      let word = bytes[start..<min(bytes.count, start + 8)]
      var data = word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      if word.count == 8 { data = mixed(data &* multiplier) &* multiplier }
      hash = (hash ^ data) &* multiplier
    }
    return mixed(mixed(hash) &* multiplier)
  }
}

/// The order in which GCC's `unordered_set` goes over its elements.
private struct HashOrder {
  /// Bucket counts as the set grows: at least twice as many, and prime.
  private static let bucketCounts = [13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172_933]

  /// One list of all elements; those of a bucket are neighbours.
  private var list: [UInt64] = []
  private var bucketCount = bucketCounts[0]

  static func order(of hashes: [UInt64]) -> [UInt64] {
    var set = HashOrder()
    for hash in hashes {
      if set.list.count == set.bucketCount { set.grow() }
      set.insert(hash)
    }
    return set.list
  }

  private mutating func grow() {
    let old = list
    bucketCount = Self.bucketCounts.first { $0 > bucketCount } ?? 2 * bucketCount + 1
    list = []
    for hash in old { insert(hash) }
  }

  /// In front of its bucket, or of the whole list where the bucket is empty.
  private mutating func insert(_ hash: UInt64) {
    let count = UInt64(bucketCount)
    list.insert(hash, at: list.firstIndex { $0 % count == hash % count } ?? 0)
  }
}
