import Foundation
import JSON

/// The frequencies of rotary position embedding (Su et al., "RoFormer", 2021) and their scalings.
public struct RotaryConfiguration: Sendable, Equatable {
  public enum Scaling: Sendable, Equatable {
    case none
    /// Positions are divided by `factor`.
    case linear(factor: Double)
    /// Llama 3.1: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalContext: Double)
    /// YaRN (Peng et al., 2023).
    case yarn(Yarn)
    /// LongRoPE (Ding et al., 2024).
    case long(LongRoPE)
    /// Dynamic NTK scaling: in sequences of L tokens, more than the original context of C, the base is multiplied by
    /// (factor · L / C − factor + 1)^(d / (d − 2)).
    case dynamic(factor: Double, originalContext: Int)

    /// As config.json calls it; nil: none.
    public var name: String? {
      switch self {
      case .none: nil
      case .linear: "linear"
      case .llama3: "llama3"
      case .yarn: "yarn"
      case .long: "longrope"
      case .dynamic: "dynamic"
      }
    }
  }

  /// Each frequency is divided by a factor of its own; in sequences longer than the original context by another one.
  public struct LongRoPE: Sendable, Equatable {
    public var shortFactors: [Double]
    public var longFactors: [Double]
    /// What cosines and sines are multiplied by.
    public var magnitude: Double
    public var originalContext: Int
  }

  /// Sequences past this length have frequencies that depend on the length, at all of their positions: training knows
  /// how long they are, but the keys in an engine's cache would have to be rotated anew while it grows. nil: none have.
  public var originalContext: Int? {
    guard fixedLength == nil else { return nil }
    return switch scaling {
    case .long(let long): long.originalContext
    case .dynamic(_, let original): original
    default: nil
    }
  }

  public struct Yarn: Sendable, Equatable {
    public var factor: Double
    public var originalContext: Double
    public var betaFast: Double
    public var betaSlow: Double
    /// What cosines and sines are multiplied by.
    public var attentionFactor: Double
    /// What multi-head latent attention multiplies its scale by besides (`mscale_all_dim`).
    public var latentAttentionFactor: Double
    /// Whether the bounds of the ramp are rounded to whole dimensions.
    public var truncates: Bool
  }

  public var base: Double
  public var scaling: Scaling
  /// All sequences have the frequencies of one of this length; nil: each has its own. Not of config.json.
  public var fixedLength: Int?

  public init(base: Double, scaling: Scaling = .none) { (self.base, self.scaling) = (base, scaling) }

  /// Reads `rope_theta` and `rope_scaling`, or transformers 5's `rope_parameters`.
  /// - Parameters:
  ///   - base: where config.json says nothing.
  ///   - layerType: whose parameters are read where `rope_parameters` has some for each type of layer.
  init(_ config: ConfigReader, contextLength: Int, base fallback: Double = 10_000, layerType: String? = nil) throws {
    var parameters = config.value("rope_parameters") ?? config.value("rope_scaling") ?? [:]
    if let layerType, let own = parameters[layerType] { parameters = own }
    let rope = ConfigReader(parameters, source: "the rotary scaling of \(config.source)")
    base = try rope.number("rope_theta", default: config.number("rope_theta", default: fallback))
    let kind = try rope.text("rope_type", default: rope.text("type", default: "default"))
    switch kind {
    case "default":
      scaling = .none
    case "linear":
      scaling = .linear(factor: try rope.number("factor"))
    case "llama3":
      scaling = .llama3(
        factor: try rope.number("factor"), lowFrequency: try rope.number("low_freq_factor"),
        highFrequency: try rope.number("high_freq_factor"),
        originalContext: try rope.number("original_max_position_embeddings"))
    case "yarn":
      scaling = .yarn(try Yarn(rope, contextLength: contextLength))
    case "dynamic":
      scaling = .dynamic(factor: try rope.number("factor"), originalContext: contextLength)
    case "longrope", "su":
      scaling = try Self.long(rope, config, contextLength: contextLength)
    default:
      throw ModelError(
        "\(config.source) asks for rotary scaling '\(kind)'; supported are default, dynamic, linear, llama3, longrope and yarn")
    }
  }

  private static func long(_ rope: ConfigReader, _ config: ConfigReader, contextLength: Int) throws -> Scaling {
    let original = try rope.count(
      "original_max_position_embeddings", default: config.count("original_max_position_embeddings", default: contextLength))
    let factor = try rope.number("factor", default: Double(contextLength) / Double(original))
    let derived = factor <= 1 ? 1 : (1 + log(factor) / log(Double(original))).squareRoot()
    return .long(
      LongRoPE(
        shortFactors: try rope.numbers("short_factor"), longFactors: try rope.numbers("long_factor"),
        magnitude: try rope.number("attention_factor", default: derived), originalContext: original))
  }

  /// Angle per position of each pair of dimensions. `[headDimension / 2]`
  /// - Parameter sequenceLength: whole; only past `originalContext` it makes a difference.
  public func inverseFrequencies(headDimension: Int, sequenceLength: Int = 0) -> [Double] {
    func frequencies(_ base: Double) -> [Double] {
      (0..<headDimension / 2).map { 1 / pow(base, Double(2 * $0) / Double(headDimension)) }
    }
    let plain = frequencies(base)
    let sequenceLength = fixedLength ?? sequenceLength
    switch scaling {
    case .none: return plain
    case .dynamic(let factor, let original):
      guard sequenceLength > original else { return plain }
      let growth = factor * Double(sequenceLength) / Double(original) - (factor - 1)
      return frequencies(base * pow(growth, Double(headDimension) / Double(headDimension - 2)))
    case .long(let long):
      let factors = sequenceLength > long.originalContext ? long.longFactors : long.shortFactors
      return zip(plain, factors).map { $0 / $1 }
    case .linear(let factor): return plain.map { $0 / factor }
    case .llama3(let factor, let low, let high, let original):
      return plain.map { frequency in
        let wavelength = 2 * Double.pi / frequency
        if wavelength < original / high { return frequency }
        if wavelength > original / low { return frequency / factor }
        let smooth = (original / wavelength - low) / (high - low)
        return (1 - smooth) * frequency / factor + smooth * frequency
      }
    case .yarn(let yarn):
      return yarn.frequencies(plain, base: base, headDimension: headDimension)
    }
  }

  /// What cosines and sines are multiplied by.
  public var magnitude: Double {
    switch scaling {
    case .yarn(let yarn): yarn.attentionFactor
    case .long(let long): long.magnitude
    default: 1
    }
  }
}

extension RotaryConfiguration.Yarn {
  init(_ rope: ConfigReader, contextLength: Int) throws {
    let factor = try rope.number("factor")
    self.factor = factor
    originalContext = try rope.number("original_max_position_embeddings", default: Double(contextLength))
    betaFast = try rope.number("beta_fast", default: 32)
    betaSlow = try rope.number("beta_slow", default: 1)
    truncates = try rope.flag("truncate", default: true)
    func magnitude(_ scale: Double) -> Double { factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1 }
    let derived: Double
    if let m = rope.value("mscale")?.double, let all = rope.value("mscale_all_dim")?.double, m != 0, all != 0 {
      derived = magnitude(m) / magnitude(all)
    } else {
      derived = magnitude(1)
    }
    attentionFactor = try rope.number("attention_factor", default: derived)
    let all = try rope.number("mscale_all_dim", default: 0)
    latentAttentionFactor = all == 0 ? 1 : magnitude(all) * magnitude(all)
  }

  /// Dimensions that turn often within the original context keep their frequency, those that turn rarely are
  /// interpolated, with a linear ramp between.
  func frequencies(_ plain: [Double], base: Double, headDimension: Int) -> [Double] {
    func dimension(rotations: Double) -> Double {
      Double(headDimension) * log(originalContext / (rotations * 2 * .pi)) / (2 * log(base))
    }
    var (low, high) = (dimension(rotations: betaFast), dimension(rotations: betaSlow))
    if truncates { (low, high) = (low.rounded(.down), high.rounded(.up)) }
    (low, high) = (max(low, 0), min(high, Double(headDimension - 1)))
    if low == high { high += 0.001 }
    return plain.enumerated().map { i, frequency in
      let ramp = min(max((Double(i) - low) / (high - low), 0), 1)
      return frequency / factor * ramp + frequency * (1 - ramp)
    }
  }
}
