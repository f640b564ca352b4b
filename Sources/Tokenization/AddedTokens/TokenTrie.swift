/// Byte strings as a tree, for finding the longest that begins at a place.
struct TokenTrie: Sendable {
  private struct Node {
    var byte: UInt8
    var id: Int32 = -1
    var child: Int32 = -1
    var sibling: Int32 = -1
  }

  private var nodes: [Node] = []
  private var roots = [Int32](repeating: -1, count: 256)

  var isEmpty: Bool { nodes.isEmpty }

  mutating func insert(_ bytes: [UInt8], id: Int) {
    guard let first = bytes.first else { return }
    if roots[Int(first)] < 0 { roots[Int(first)] = add(first) }
    var node = Int(roots[Int(first)])
    for byte in bytes.dropFirst() {
      var child = nodes[node].child
      while child >= 0, nodes[Int(child)].byte != byte { child = nodes[Int(child)].sibling }
      if child < 0 {
        child = add(byte)
        nodes[Int(child)].sibling = nodes[node].child
        nodes[node].child = child
      }
      node = Int(child)
    }
    // The first of several tokens of one content counts.
    if nodes[node].id < 0 { nodes[node].id = Int32(id) }
  }

  private mutating func add(_ byte: UInt8) -> Int32 {
    nodes.append(Node(byte: byte))
    return Int32(nodes.count - 1)
  }

  /// The first match at `position` or later, and the longest there.
  func firstMatch(in text: UnsafePointer<UInt8>, from position: Int, end: Int) -> (start: Int, end: Int, id: Int)? {
    roots.withUnsafeBufferPointer { roots in
      nodes.withUnsafeBufferPointer { nodes in
        var start = position
        while start < end {
          var node = Int(roots[Int(text[start])])
          if node >= 0 {
            var (index, found, id) = (start + 1, -1, -1)
            while true {
              if nodes[node].id >= 0 { (found, id) = (index, Int(nodes[node].id)) }
              if index == end { break }
              var child = Int(nodes[node].child)
              while child >= 0, nodes[child].byte != text[index] { child = Int(nodes[child].sibling) }
              if child < 0 { break }
              (node, index) = (child, index + 1)
            }
            if found >= 0 { return (start, found, id) }
          }
          start += 1
        }
        return nil
      }
    }
  }
}
