/// Copies a box of elements from one strided memory to another.
///
/// Dimensions that lie behind one another in both are merged, so that a box of whole rows is one `memcpy`.
struct StridedCopy {
  private struct Dimension {
    var size: Int
    /// In elements.
    var source: Int
    var destination: Int
  }

  private var dimensions: [Dimension] = []
  private let isEmpty: Bool
  private let elementSize: Int

  /// Strides are in elements.
  init(sizes: [Int], sourceStrides: [Int], destinationStrides: [Int], elementSize: Int) {
    self.elementSize = elementSize
    isEmpty = sizes.contains(0)
    for i in sizes.indices where sizes[i] != 1 {
      let next = Dimension(size: sizes[i], source: sourceStrides[i], destination: destinationStrides[i])
      if let last = dimensions.last, last.source == next.source * next.size,
        last.destination == next.destination * next.size
      {
        dimensions[dimensions.count - 1] = Dimension(
          size: last.size * next.size, source: next.source, destination: next.destination)
      } else {
        dimensions.append(next)
      }
    }
  }

  /// Both pointers are at the box's first element.
  func run(from source: UnsafeRawPointer, to destination: UnsafeMutableRawPointer) {
    if isEmpty { return }
    copy(dimensions[...], source, destination)
  }

  private func copy(
    _ dimensions: ArraySlice<Dimension>, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer
  ) {
    guard let first = dimensions.first else {
      return destination.copyMemory(from: source, byteCount: elementSize)
    }
    if dimensions.count == 1 {
      if first.source == 1, first.destination == 1 {
        return destination.copyMemory(from: source, byteCount: first.size * elementSize)
      }
      switch elementSize {
      case 1: return copyElements(first, UInt8.self, source, destination)
      case 2: return copyElements(first, UInt16.self, source, destination)
      case 4: return copyElements(first, UInt32.self, source, destination)
      default: return copyElements(first, UInt64.self, source, destination)
      }
    }
    for i in 0..<first.size {
      copy(
        dimensions.dropFirst(), source + i * first.source * elementSize,
        destination + i * first.destination * elementSize)
    }
  }

  /// Element types of 1, 2, 4 and 8 bytes are all there are.
  private func copyElements<Element: FixedWidthInteger>(
    _ dimension: Dimension, _ type: Element.Type, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer
  ) {
    let size = MemoryLayout<Element>.size
    for i in 0..<dimension.size {
      let element = source.loadUnaligned(fromByteOffset: i * dimension.source * size, as: Element.self)
      destination.storeBytes(of: element, toByteOffset: i * dimension.destination * size, as: Element.self)
    }
  }
}
