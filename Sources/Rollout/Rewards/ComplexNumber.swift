import Foundation

/// A complex number, as far as comparing expressions needs it. Many-valued functions have their principal value.
struct ComplexNumber: Equatable {
  var real: Double
  var imaginary: Double

  init(_ real: Double, _ imaginary: Double = 0) { (self.real, self.imaginary) = (real, imaginary) }

  var magnitude: Double { hypot(real, imaginary) }
  var isFinite: Bool { real.isFinite && imaginary.isFinite }

  static prefix func - (a: Self) -> Self { Self(-a.real, -a.imaginary) }
  static func + (a: Self, b: Self) -> Self { Self(a.real + b.real, a.imaginary + b.imaginary) }
  static func - (a: Self, b: Self) -> Self { a + -b }

  static func * (a: Self, b: Self) -> Self {
    Self(a.real * b.real - a.imaginary * b.imaginary, a.real * b.imaginary + a.imaginary * b.real)
  }

  static func / (a: Self, b: Self) -> Self {
    if b.imaginary == 0 { return Self(a.real / b.real, a.imaginary / b.real) }
    let scale = b.real * b.real + b.imaginary * b.imaginary
    return a * Self(b.real / scale, -b.imaginary / scale)
  }

  var logarithm: Self { Self(log(magnitude), atan2(imaginary, real)) }

  func power(_ exponent: Self) -> Self {
    if imaginary == 0, exponent.imaginary == 0, real >= 0 || exponent.real == exponent.real.rounded() {
      return Self(pow(real, exponent.real))
    }
    // Products, where few do: exact for small whole numbers.
    if exponent.imaginary == 0, exponent.real.magnitude <= 16, exponent.real == exponent.real.rounded() {
      let product = (0..<Int(exponent.real.magnitude)).reduce(Self(1)) { value, _ in value * self }
      return exponent.real < 0 ? Self(1) / product : product
    }
    if magnitude == 0 { return Self(exponent.real > 0 ? 0 : .nan) }
    let turned = logarithm * exponent
    return Self(exp(turned.real) * cos(turned.imaginary), exp(turned.real) * sin(turned.imaginary))
  }
}
