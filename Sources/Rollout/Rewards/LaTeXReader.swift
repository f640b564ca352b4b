/// Reads the LaTeX of an answer into a formula on one line: `\frac{x+1}{2}` is `(x+1)/2`, `\sqrt[3]{2}` is `root(3,2)`.
///
/// Braces stay where they only group, for the caller to drop. Whatever is not known keeps its name.
struct LaTeXReader {
  private static let deepest = 50

  private static let symbols: [String: String] = [
    "pi": "pi", "infty": "inf", "cup": "U", "cap": "∩", "cdot": "*", "times": "*", "div": "/", "pm": "±", "mp": "∓",
    "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "ne": "≠", "neq": "≠", "lt": "<",
    "gt": ">", "in": "∈", "emptyset": "∅", "varnothing": "∅", "circ": "∘", "to": "→", "rightarrow": "→", "ldots": "…",
    "dots": "…", "cdots": "…", "left": "", "right": "", "displaystyle": "", "quad": " ", "qquad": " ", "lbrace": "{",
    "rbrace": "}", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
  ]
  /// Commands that show their argument in another way.
  private static let styles: Set<String> = [
    "text", "textbf", "textit", "textrm", "mathrm", "mathbf", "mathit", "mathbb", "mathcal", "boldsymbol", "operatorname",
    "mbox", "overline", "underline", "rm", "bf",
  ]

  private var rest: Substring
  private var depth = 0

  static func plainText(_ latex: String) -> String {
    var reader = LaTeXReader(rest: Substring(latex))
    return reader.text(until: nil)
  }

  private init(rest: Substring) { self.rest = rest }

  /// Up to the closing bracket, which is taken, or the end.
  private mutating func text(until close: Character?) -> String {
    depth += 1
    defer { depth -= 1 }
    var result = ""
    while let next = rest.first {
      if next == close {
        rest.removeFirst()
        break
      }
      result += piece()
    }
    return result
  }

  private mutating func piece() -> String {
    let first = rest.removeFirst()
    switch first {
    case "\\": return command()
    case "{" where depth < Self.deepest: return "{" + text(until: "}") + "}"
    case "^":
      guard rest.first == "{", depth < Self.deepest else { return "^" }
      let exponent = argument()
      return "^" + (Self.isSimple(exponent) ? exponent : "(\(exponent))")
    case "~": return " "
    case "√": return "sqrt"
    case "π": return "pi"
    case "∞": return "inf"
    case "∪": return "U"
    case "·", "×": return "*"
    case "−": return "-"
    default: return String(first)
    }
  }

  private mutating func command() -> String {
    guard let first = rest.first else { return "" }
    guard first.isASCII, first.isLetter else {
      rest.removeFirst()
      switch first {
      case ",", "!", ";", ":", ">": return ""
      case "\\": return ";"
      default: return String(first)
      }
    }
    let name = String(rest.prefix { $0.isASCII && $0.isLetter })
    rest = rest.dropFirst(name.count)
    if let symbol = Self.symbols[name] { return symbol }
    guard depth < Self.deepest else { return name }
    switch name {
    case "frac", "dfrac", "tfrac", "cfrac":
      let (top, bottom) = (argument(), argument())
      // The space keeps the 3 of 3\frac12 apart.
      return " " + (Self.isSum(top) ? "(\(top))" : top) + "/" + (Self.isSimple(bottom) ? bottom : "(\(bottom))")
    case "sqrt":
      rest = rest.drop { $0 == " " }
      guard rest.first == "[" else { return "sqrt(\(argument()))" }
      rest.removeFirst()
      let degree = text(until: "]")
      return "root(\(degree),\(argument()))"
    case "begin", "end":
      _ = argument()
      return name == "begin" ? "[" : "]"
    case let style where Self.styles.contains(style):
      return argument()
    default:
      return name
    }
  }

  /// What a command is applied to: a group without its braces, or one character or command.
  private mutating func argument() -> String {
    depth += 1
    defer { depth -= 1 }
    rest = rest.drop { $0 == " " }
    guard rest.first == "{" else { return rest.isEmpty ? "" : piece() }
    rest.removeFirst()
    return text(until: "}")
  }

  /// Whether a formula binds as tightly as a number: a number, a letter, or a function of something.
  private static func isSimple(_ text: String) -> Bool {
    let digits = text.first == "-" ? text.dropFirst() : text[...]
    if digits.allSatisfy({ $0.isNumber || $0 == "." }) || text.count == 1 || text == "pi" { return true }
    guard let open = text.firstIndex(of: "("), ["sqrt", "root"].contains(text[..<open]), text.last == ")" else { return false }
    return !text.dropLast().dropFirst(5).contains { "()".contains($0) }
  }

  /// Whether what is above a fraction bar needs brackets on one line.
  private static func isSum(_ text: String) -> Bool {
    text.dropFirst().contains { "+-±∓<>=≤≥,".contains($0) }
  }
}
