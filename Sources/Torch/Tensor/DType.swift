/// Element types; the raw values are those of `c10::ScalarType`.
public enum DType: Int32, Sendable, Codable, CaseIterable {
  case uint8 = 0
  case int8 = 1
  case int16 = 2
  case int32 = 3
  case int64 = 4
  case float16 = 5
  case float32 = 6
  case float64 = 7
  case bool = 11
  case bfloat16 = 15
  case float8e5m2 = 23
  case float8e4m3 = 24

  /// Bytes an element.
  public var size: Int {
    switch self {
    case .uint8, .int8, .bool, .float8e5m2, .float8e4m3: 1
    case .int16, .float16, .bfloat16: 2
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }

  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .float32, .float64, .bfloat16, .float8e5m2, .float8e4m3: true
    default: false
    }
  }

  /// The name that PyTorch and Hugging Face use (`torch_dtype` in config.json).
  public var name: String {
    switch self {
    case .float8e5m2: "float8_e5m2"
    case .float8e4m3: "float8_e4m3fn"
    default: "\(self)"
    }
  }

  public init?(name: String) {
    guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = match
  }
}
