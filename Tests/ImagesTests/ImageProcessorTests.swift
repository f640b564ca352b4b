import Checkpoints
import Foundation
import Images
import JSON
import TestSupport
import Testing
import Torch

/// Pictures of many kinds and sizes against what `transformers` makes of them (`Scripts/make_image_fixtures.py`).
@Suite struct ImageProcessorTests {
  private static let folder = fixture("images")
  private static let names = try! FileManager.default.contentsOfDirectory(atPath: folder.path)
    .filter { $0.first?.isNumber == true }.sorted()

  @Test func preparesAsTransformersDoes() throws {
    let processor = try #require(try ImageProcessor(folder: Self.folder))
    let reference = try SafetensorsFile(Self.folder.appendingPathComponent("reference.safetensors"))
    #expect(Self.names.count == 20)
    for name in Self.names {
      let data = try ImageSource.data(Self.folder.appendingPathComponent(name).path)
      let image = try processor(data)
      let wanted = try reference.tensor("\(name).patches")
      let grid: [Int] = try reference.tensor("\(name).grid").array()
      #expect([image.grid.time, image.grid.height, image.grid.width] == grid, "\(name)")
      try #require(image.patches.shape == [wanted.size(0), wanted.size(1) * 2 * wanted.size(2)], "\(name)")
      let frames = image.patches.view([wanted.size(0), 3, 2, wanted.size(2)])
      for frame in 0..<2 {
        let error = (frames.select(2, index: frame) - wanted).abs().max().item()
        #expect(error < 1e-3, "\(name): largest difference \(error)")
      }
      #expect(try processor.grid(data) == image.grid, "\(name)")
    }
  }

  @Test func processorsAreFoundInBothFiles() throws {
    let data = try Data(contentsOf: Self.folder.appendingPathComponent(ImageProcessor.fileName))
    try withTemporaryFolder { folder in
      #expect(try ImageProcessor(folder: folder) == nil)
      let whole: JSONValue = ["processor_class": "Qwen3VLProcessor", "image_processor": try JSONValue(parsing: data)]
      try whole.data(.compact).write(to: folder.appendingPathComponent("processor_config.json"))
      #expect(try ImageProcessor(folder: folder) == ImageProcessor(folder: Self.folder))
    }
  }

  /// A picture is the same however a prompt says where it is.
  @Test func sourcesAreTheSame() throws {
    let file = Self.folder.appendingPathComponent("01-rgb.jpeg")
    let data = try Data(contentsOf: file)
    let base64 = data.base64EncodedString()
    for text in [file.path, file.absoluteString, "data:image/jpeg;base64," + base64, base64] {
      #expect(try ImageSource.data(text) == data, "\(text.prefix(30))")
    }
  }

  @Test(arguments: [
    ("/nowhere/picture.png", "'/nowhere/picture.png' cannot be read"),
    ("https://example.org/a.png", "not fetched"),
    ("data:image/png,raw", "is not of the form"),
    ("data:image/png;base64,%%%", "holds no"),
  ]) func whatIsNoPictureIsNamed(_ text: String, complaint: String) throws {
    let error = #expect(throws: ImageError.self) { _ = try ImageProcessor()(ImageSource.data(text)) }
    #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
  }

  @Test func brokenPicturesAreRefused() throws {
    let whole = try Data(contentsOf: Self.folder.appendingPathComponent("00-rgb.png"))
    let bad: [(Data, String)] = [
      (Data("GIF89a and so on".utf8), "neither PNG, JPEG nor WebP"), (Data(), "of 0 bytes"),
      (whole.prefix(whole.count / 2), "cannot be decoded"), (whole.prefix(20), "cannot be decoded"),
    ]
    for (data, complaint) in bad {
      let error = #expect(throws: ImageError.self) { try ImageProcessor()(data) }
      #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
    }
    let slim = try Data(contentsOf: Self.folder.appendingPathComponent("slim.png"))
    let error = #expect(throws: ImageError.self) { try ImageProcessor().grid(slim) }
    #expect(error?.description.contains("200 times") == true)
  }

  /// What a processor's file asks for and is not built is named.
  @Test(arguments: [
    (["do_resize": false], "do_resize = false"), (["resample": 2], "resample = 2"), (["patch_size": 0], "patch_size = 0"),
    (["image_mean": [0.5]], "image_mean"), (["min_pixels": 99, "max_pixels": 9], "at least 99"),
  ] as [(JSONValue, String)]) func unknownSettingsAreNamed(_ config: JSONValue, complaint: String) throws {
    let error = #expect(throws: ImageError.self) { try ImageProcessor(config, source: "a test") }
    #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
  }
}
