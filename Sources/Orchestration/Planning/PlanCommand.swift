import Foundation
import Training

extension Plan {
  /// Prints the plan.
  /// - Throws: `ConfigurationError` when the launch cannot fit.
  public static func run(_ configuration: PlanConfiguration) throws {
    let plan = try Plan(configuration)
    print(plan.report)
    if let refusal = plan.refusal { throw refusal }
  }
}
