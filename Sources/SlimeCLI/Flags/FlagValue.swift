import Inference
import Models
import Orchestration
import RLAlgorithms
import Rollout
import Training
import WeightSync

/// What can be written after a flag.
protocol FlagValue: Sendable {
  init?(flag: String)
  /// As it is written; nil: nothing to show as a default.
  var flagText: String? { get }
  /// What is expected, for error messages: `an integer`.
  static var expectation: String { get }
  static var placeholder: String { get }
  /// Ends the help line.
  static var choices: String { get }
}

extension FlagValue {
  static var choices: String { "" }
}

extension Int: FlagValue {
  init?(flag: String) { self.init(flag) }
  var flagText: String? { String(self) }
  static var expectation: String { "an integer" }
  static var placeholder: String { "N" }
}

extension Double: FlagValue {
  init?(flag: String) {
    guard let value = Double(flag), !value.isNaN else { return nil }
    self = value
  }
  var flagText: String? { Int(exactly: self).map(String.init) ?? String(self) }
  static var expectation: String { "a number" }
  static var placeholder: String { "X" }
}

extension String: FlagValue {
  init?(flag: String) { self = flag }
  var flagText: String? { isEmpty ? nil : self }
  static var expectation: String { "text" }
  static var placeholder: String { "TEXT" }
}

extension Optional: FlagValue where Wrapped: FlagValue {
  init?(flag: String) {
    guard let value = Wrapped(flag: flag) else { return nil }
    self = value
  }
  var flagText: String? { self?.flagText }
  static var expectation: String { Wrapped.expectation }
  static var placeholder: String { Wrapped.placeholder }
  static var choices: String { Wrapped.choices }
}

extension FlagValue where Self: RawRepresentable & CaseIterable, RawValue == String {
  init?(flag: String) { self.init(rawValue: flag) }
  var flagText: String? { rawValue }
  static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
  static var expectation: String { "one of \(names)" }
  private static var isShort: Bool { names.count <= 26 }
  static var placeholder: String { isShort ? allCases.map(\.rawValue).joined(separator: "|") : "NAME" }
  static var choices: String { isShort ? "" : ": " + names }
}

extension TrainBackendKind: FlagValue {}
extension ComputeDevice: FlagValue {}
extension AttentionImplementation: FlagValue {}
extension AttentionBackendKind: FlagValue {}
extension RecomputeGranularity: FlagValue {}
extension RecomputeMethod: FlagValue {}
extension RouterBalancing: FlagValue {}
extension SequenceLayout.Format: FlagValue {}
extension ComputeDType: FlagValue {}
extension DistributedBackend: FlagValue {}
// Its names are too long for a line of help.
extension RolloutFunction: FlagValue {
  static var choices: String { "" }
}
extension LossMaskType: FlagValue {}
extension LossType: FlagValue {}
extension AdvantageEstimatorKind: FlagValue {}
extension DistillationType: FlagValue {}
extension KLEstimatorKind: FlagValue {}
extension OptimizerKind: FlagValue {}
extension OptimizerType: FlagValue {}
extension LearningRateDecayStyle: FlagValue {}
extension WSDDecayStyle: FlagValue {}
extension LogLevel: FlagValue {}
extension SchedulePolicy: FlagValue {}
extension SpeculativeAlgorithm: FlagValue {}
extension WeightQuantization: FlagValue {}
extension KVCacheType: FlagValue {}
extension BenchSubject: FlagValue {}
extension BenchComparison: FlagValue {}
extension UpdateKind: FlagValue {}
extension PlannedGPU: FlagValue {}
extension WeightTransport: FlagValue {}
extension WeightUpdateMode: FlagValue {}
extension DeltaEncoding: FlagValue {}
extension DeltaChecksum: FlagValue {}
