import Rollout
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
