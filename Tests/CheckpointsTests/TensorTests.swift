import Checkpoints
import Foundation
import TestSupport
import Testing
import Torch

@Suite struct TensorTests {
  @Test func readsAllTypesThatTensorsHave() throws {
    let file = try SafetensorsFile(fixture("safetensors/every-dtype.safetensors"))
    var read = 0
    for description in file.tensors {
      guard let type = description.dtype.tensorType else {
        #expect(throws: CheckpointError.self) { try file.tensor(description.name) }
        continue
      }
      let tensor = try file.tensor(description.name)
      #expect(tensor.dtype == type && tensor.shape == [2, 3])
      #expect(SafetensorsDType(type) == description.dtype)
      tensor.withBytes { #expect(Array($0) == Array(file.bytes(of: description))) }
      read += 1
    }
    #expect(read == DType.allCases.count)
    #expect(try SafetensorsFile(fixture("safetensors/odd-names.safetensors")).tensor("empty").shape == [4, 0])
  }

  @Test func aTensorIsAViewThatKeepsTheFile() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      try SafetensorsWriter.write(to: url, tensors: [TensorSource("x", Tensor([1, 2, 3, 4] as [Float]))])
      let original = try Data(contentsOf: url)
      weak var released: SafetensorsFile?
      do {
        let view: Tensor
        do {
          let file = try SafetensorsFile(url)
          released = file
          let tensor = try file.tensor("x")
          tensor.withBytes { bytes in
            #expect(try! bytes.baseAddress == file.bytes(of: "x").baseAddress)
          }
          #expect(try file.tensor("x").sharesStorage(with: tensor) == false)
          view = tensor.view([2, 2])
        }
        try FileManager.default.removeItem(at: url)
        #expect(released != nil)
        #expect(view.array(Float.self) == [1, 2, 3, 4])
        // Changing it in place is allowed and stays here.
        view.fill_(7)
        #expect(view.array(Float.self) == [7, 7, 7, 7])
      }
      #expect(released == nil)
      try original.write(to: url)
      let file = try SafetensorsFile(url)
      try file.tensor("x").fill_(9)
      #expect(try Data(contentsOf: url) == original)
    }
  }

  @Test func misalignedTensorsAreCopied() throws {
    try withTemporaryFolder { folder in
      let header = #"{"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}"#
      var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) } + Data(header.utf8) + [5]
      for value: Float in [1.5, -2] { withUnsafeBytes(of: value) { data.append(contentsOf: $0) } }
      let url = folder.appendingPathComponent("a.safetensors")
      try data.write(to: url)
      #expect(try SafetensorsFile(url).tensor("x").array(Float.self) == [1.5, -2])
    }
  }

  @Test func writesViewsAndConvertsToTheAnnouncedType() throws {
    try withTemporaryFolder { folder in
      let url = folder.appendingPathComponent("a.safetensors")
      let matrix = Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
      var made = 0
      try SafetensorsWriter.write(to: url, tensors: [
        TensorSource("transposed", matrix.transpose(0, dim1: 1)),
        TensorSource(TensorSpecification(name: "half", dtype: .bfloat16, shape: [2, 3])) {
          made += 1
          return matrix
        },
      ])
      let file = try SafetensorsFile(url)
      #expect(try file.tensor("transposed").array(Float.self) == [1, 4, 2, 5, 3, 6])
      #expect(try file.tensor("half").dtype == .bfloat16)
      #expect(try file.tensor("half").array(Float.self) == [1, 2, 3, 4, 5, 6])
      #expect(made == 1)

      let writer = try SafetensorsWriter(
        to: url, tensors: [TensorSpecification(name: "x", dtype: .float32, shape: [3, 2])])
      let error = #expect(throws: CheckpointError.self) { try writer.write("x", matrix) }
      #expect(error?.description == "tensor 'x' was announced with shape [3, 2] but has [2, 3]")
    }
  }

  /// The whole way: a model's weights through tensors into shards, byte for byte as `transformers` saved them.
  @Test func aModelThroughTensors() throws {
    let source = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    let weights = try source.weights()
    try withTemporaryFolder { parent in
      let copy = parent.appendingPathComponent("copy")
      let specifications = try weights.names.map { try weights.description(of: $0).specification }
      let writer = try HuggingFaceWriter(to: copy, config: source.config, tensors: specifications, copyingFrom: source)
      for name in weights.names.reversed() { try writer.write(name, weights.tensor(name)) }
      try writer.finish()
      let (a, b) = (copy.appendingPathComponent("model.safetensors"), source.url.appendingPathComponent("model.safetensors"))
      #expect(try Data(contentsOf: a) == Data(contentsOf: b))
    }
  }
}
