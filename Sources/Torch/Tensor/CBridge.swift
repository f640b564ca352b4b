import CTorch

// Swift values as the C ABI takes them, for the duration of one call.

@inline(__always)
func withInts<R>(_ values: [Int], _ body: (ct_ints) -> R) -> R {
  values.withUnsafeBufferPointer { buffer in
    buffer.withMemoryRebound(to: Int64.self) { body(ct_ints(data: $0.baseAddress, count: $0.count)) }
  }
}

@inline(__always)
func withOptionalInts<R>(_ values: [Int]?, _ body: (ct_ints) -> R) -> R {
  guard let values else { return body(ct_ints(data: nil, count: 0)) }
  return withInts(values, body)
}

func withBools<R>(_ values: [Bool], _ body: (ct_ints) -> R) -> R { withInts(values.map { $0 ? 1 : 0 }, body) }

func withHandles<R>(_ tensors: [Tensor], _ body: (ct_tensors) -> R) -> R {
  withUnsafeTemporaryAllocation(of: ct_tensor?.self, capacity: tensors.count) { buffer in
    for (i, tensor) in tensors.enumerated() { buffer.initializeElement(at: i, to: tensor.handle) }
    defer { withExtendedLifetime(tensors) {} }
    return body(ct_tensors(data: UnsafePointer(buffer.baseAddress), count: tensors.count))
  }
}

func withOptionalHandles<R>(_ tensors: [Tensor?], _ body: (ct_tensors) -> R) -> R {
  withUnsafeTemporaryAllocation(of: ct_tensor?.self, capacity: tensors.count) { buffer in
    for (i, tensor) in tensors.enumerated() { buffer.initializeElement(at: i, to: tensor?.handle) }
    defer { withExtendedLifetime(tensors) {} }
    return body(ct_tensors(data: UnsafePointer(buffer.baseAddress), count: tensors.count))
  }
}

func withCString<R>(_ text: String, _ body: (UnsafePointer<CChar>) -> R) -> R { text.withCString(body) }

func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
  guard let text else { return body(nil) }
  return text.withCString { body($0) }
}

extension ct_optional_int {
  init(_ value: Int?) { self.init(value: Int64(value ?? 0), exists: value != nil) }
  init(_ value: Bool?) { self.init(value: value == true ? 1 : 0, exists: value != nil) }
}
extension ct_optional_double {
  init(_ value: Double?) { self.init(value: value ?? 0, exists: value != nil) }
}
extension ct_optional_scalar {
  init(_ value: (any TensorScalar)?) { self.init(value: value?.scalar ?? ct_scalar(), exists: value != nil) }
}

@inline(__always)
func checked<R>(_ result: R) -> R {
  checkTorchError()
  return result
}

// Operators with several results fill an array of handles.

private func results(_ count: Int, _ body: (UnsafeMutablePointer<ct_tensor?>) -> Void) -> [Tensor] {
  withUnsafeTemporaryAllocation(of: ct_tensor?.self, capacity: count) { buffer in
    buffer.initialize(repeating: nil)
    body(buffer.baseAddress!)
    checkTorchError()
    return buffer.map { Tensor(owned: $0) }
  }
}

func results2(_ body: (UnsafeMutablePointer<ct_tensor?>) -> Void) -> (Tensor, Tensor) {
  let all = results(2, body)
  return (all[0], all[1])
}

func results3(_ body: (UnsafeMutablePointer<ct_tensor?>) -> Void) -> (Tensor, Tensor, Tensor) {
  let all = results(3, body)
  return (all[0], all[1], all[2])
}

func results5(_ body: (UnsafeMutablePointer<ct_tensor?>) -> Void) -> (Tensor, Tensor, Tensor, Tensor, Tensor) {
  let all = results(5, body)
  return (all[0], all[1], all[2], all[3], all[4])
}
