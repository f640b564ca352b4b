import Foundation
import JSON
import Rollout
import TestSupport
import Testing

@Suite struct RewardTests {
  private func score(_ type: RewardType, _ response: String, _ label: String) throws -> Double {
    var sample = Sample()
    (sample.response, sample.label) = (response, .string(label))
    return try type.score(sample).value(key: nil)
  }

  @Test(arguments: [
    ("42", "42"), ("\\frac{1}{2}", "0.5"), ("\\dfrac12", "\\frac{1}{2}"), ("1/2", "\\frac{1}{2}"), ("1,234", "1234"),
    ("x=5", "5"), ("90^\\circ", "90"), ("5\\text{ cm}", "5"), ("2\\sqrt{3}", "\\sqrt{12}"), ("(1, 2)", "(1,2)"),
    ("x^2+2x+1", "(x+1)^2"), ("50\\%", "50"), ("\\text{east}", "east"), ("3", "\\boxed{3}"), ("2^{10}", "1024.0"),
  ])
  func equalAnswers(_ answer: String, _ label: String) throws {
    if answer == "2^{10}" {
      // An integer must be written as one.
      #expect(try score(.math, "\\boxed{\(answer)}", label) == 0)
    } else {
      #expect(try score(.math, "so it is \\boxed{\(answer)}.", label) == 1, "\(answer) and \(label)")
    }
  }

  @Test(arguments: [
    ("41", "42"), ("\\frac{2}{4}", "\\frac{1}{2}"), ("(1,2)", "[1,2]"), ("(1,2)", "(1,2,3)"), ("x+1", "x+2"), ("", "1"),
    ("1.4142", "\\sqrt{2}"), ("9^{9^{9}}", "3"), (String(repeating: "(", count: 5000), "1"),
  ])
  func differentAnswers(_ answer: String, _ label: String) throws {
    #expect(try score(.math, "\\boxed{\(answer)}", label) == 0, "\(answer) and \(label)")
  }

  /// The pairs of Scripts/make_grader_fixture.py: slime's rule with sympy, and what was written by hand.
  @Test func agreesWithTheRuleOnManyPairs() throws {
    let rows = try JSONValue(parsing: Data(contentsOf: fixture("rollout/answers.json"))).array ?? []
    #expect(rows.count > 700)
    for row in rows {
      let (answer, label, expected) = try #require(row.array.flatMap { row in
        row.count == 3 ? (row[0].string!, row[1].string!, row[2].double!) : nil
      })
      for type in RewardType.allCases {
        let found = try score(type, "<think>so</think> It is \\boxed{\(answer)}.", label)
        #expect(found == expected, "\(type): \(answer) and \(label)")
      }
    }
  }

  /// Nothing that a model may write takes long or stops the process.
  @Test func nonsenseIsNoAnswer() throws {
    let parts = [
      "\\sqrt", "\\frac", "^{", "{", "(", "[", "\\text{", "sqrt", "1,", "\\begin{", "x^", "-", "9^9", "\\sqrt[", "ln", "=", "\\", "é", "∞",
    ]
    for part in parts {
      for count in [1, 40, 330] {
        let text = String(repeating: part, count: count)
        #expect(try score(.math, "\\boxed{\(text)}", "1") == 0, "\(part)")
        #expect(try score(.math, "\\boxed{2x}", text + "1") == 0, "\(part)")
      }
    }
  }

  @Test func lastBoxCountsAndBracesNest() throws {
    #expect(try score(.math, "\\boxed{1} no, \\boxed{\\frac{3}{4}}", "0.75") == 1)
    #expect(try score(.math, "it is 5", "5") == 0)
    #expect(try score(.math, "\\boxed{5", "5") == 0)
  }

  @Test func deepscalerWantsTheEndOfThinking() throws {
    #expect(try score(.deepscaler, "<think>\\boxed{1}</think> \\boxed{2}", "2") == 1)
    #expect(try score(.deepscaler, "<think>\\boxed{2}</think> nothing", "2") == 0)
    #expect(try score(.deepscaler, "\\boxed{2}", "2") == 0)
    #expect(try score(.deepscaler, "###Response \\boxed{2}", "2") == 1)
  }

  @Test func unknownNamesAndMissingLabelsAreSentences() {
    #expect(throws: SampleError.self) { try RewardType(name: "mth") }
    #expect(throws: SampleError.self) { try RewardType.math.score(Sample()) }
  }
}
