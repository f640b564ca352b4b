import Inference
import Testing

@Suite struct XXHash64Tests {
  /// Of python-xxhash 4.1.0, `xxhash.xxh64_hexdigest(bytes(i % 251 for i in range(n)))`.
  @Test(arguments: [
    (0, "ef46db3751d8e999"), (1, "e934a84adb052768"), (3, "e5c7bb4533bc65dd"),
    (4, "ffced8604453cc1e"), (5, "dd0274386e26030c"), (8, "884a173614b81b8d"),
    (13, "13d17c4c779723a8"), (31, "c346d2b59b4d8ee1"), (32, "cbf59c5116ff32b4"),
    (33, "0c535d1acafb8ead"), (39, "00a396ef1679a859"), (64, "f7c67301db6713f0"),
    (100, "6ac1e58032166597"), (1000, "f306f04aa88b54d3"),
  ] as [(Int, String)])
  func equalsTheReference(count: Int, digest: String) {
    let bytes = (0..<count).map { UInt8($0 % 251) }
    #expect(bytes.withUnsafeBytes { XXHash64.hex($0) } == digest)
  }
}
