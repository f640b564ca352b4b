import Checkpoints
import TestSupport
import Testing

@Suite struct TensorBoxTests {
  @Test func intersectionsAndFit() {
    let box = TensorBox(offsets: [1, 2], sizes: [3, 4])
    #expect(box.description == "[1:4, 2:6]")
    #expect(box.count == 12)
    #expect(box.fits([4, 6]) && !box.fits([4, 5]) && !box.fits([4]))
    #expect(box.intersection(TensorBox(offsets: [3, 0], sizes: [9, 3])) == TensorBox(offsets: [3, 2], sizes: [1, 1]))
    #expect(box.intersection(TensorBox(offsets: [4, 0], sizes: [9, 9])) == nil)
    let scalar = TensorBox(whole: [])
    #expect(scalar.count == 1 && scalar.intersection(scalar) == scalar && scalar.fits([]))
    #expect(TensorBox(offsets: [4], sizes: [0]).fits([4]))
  }

  /// Holes and overlaps of random boxes, against a count of every element.
  @Test func holesAndOverlaps() {
    var generator = SeededGenerator(state: 1)
    var seen: Set<[Bool]> = []
    for _ in 0..<3000 {
      let dimensions = Int.random(in: 0...3, using: &generator)
      let shape = (0..<dimensions).map { _ in Int.random(in: 1...4, using: &generator) }
      let boxes = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
        let offsets = shape.map { Int.random(in: 0..<$0, using: &generator) }
        return TensorBox(
          offsets: offsets, sizes: zip(shape, offsets).map { Int.random(in: 0...$0 - $1, using: &generator) })
      }
      var counts = [Int](repeating: 0, count: shape.reduce(1, *))
      for box in boxes {
        for place in elements(box, shape) { counts[place] += 1 }
      }
      let whole = TensorBox(whole: shape)
      if let hole = boxes.hole(in: whole) {
        #expect(!hole.isEmpty && elements(hole, shape).allSatisfy { counts[$0] == 0 })
      } else {
        #expect(!counts.contains(0))
      }
      if let (a, b) = boxes.overlap() {
        #expect(a < b && boxes[a].intersection(boxes[b]) != nil)
      } else {
        #expect(counts.allSatisfy { $0 <= 1 })
      }
      seen.insert([counts.contains(0), counts.contains { $0 > 1 }])
    }
    #expect(seen.count == 4)
  }

  private func elements(_ box: TensorBox, _ shape: [Int]) -> [Int] {
    var places = [0]
    for i in shape.indices {
      places = places.flatMap { place in (0..<box.sizes[i]).map { place * shape[i] + box.offsets[i] + $0 } }
    }
    return places
  }
}
