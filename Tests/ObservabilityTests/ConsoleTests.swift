import Foundation
import Observability
import Synchronization
import Testing

/// Runs `body` with a console whose two streams are one pipe, and returns what it wrote.
private func written(to terminal: Terminal, _ body: (Console) throws -> Void) rethrows -> String {
  let pipe = Pipe()
  let descriptor = pipe.fileHandleForWriting.fileDescriptor
  try body(Console(output: descriptor, errors: descriptor, terminal: terminal))
  try? pipe.fileHandleForWriting.close()
  return String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
}

/// What a terminal shows after `text`, as far as carriage return, line feed and "erase line" go.
private func screen(_ text: String) -> [String] {
  var lines = [""]
  for part in text.replacing("\u{1B}[2K", with: "\u{7F}") {
    switch part {
    case "\n": lines.append("")
    case "\r", "\u{7F}": lines[lines.count - 1] = ""
    default: lines[lines.count - 1].append(part)
    }
  }
  return lines
}

/// A clock that tests move.
private final class ManualClock: Sendable {
  private let time = Mutex(Duration.zero)
  func advance(_ duration: Duration) { time.withLock { $0 += duration } }
  var now: Duration { time.withLock { $0 } }
}

private let interactive = Terminal(isInteractive: true, width: 80)
private let log = Terminal(isInteractive: false)

@Test func linesGoAboveTheStatus() {
  let text = written(to: interactive) { console in
    console.print("first")
    console.setStatus("working 1")
    console.print("second")
    console.setStatus("working 2")
  }
  #expect(screen(text) == ["first", "second", "working 2"])
}

@Test func aBarIsRedrawnInPlaceAndLeavesOneLine() {
  let clock = ManualClock()
  let text = written(to: interactive) { console in
    let bar = ProgressBar("rollout", total: 40, console: console, now: { clock.now })
    for step in 1...20 {
      clock.advance(.milliseconds(500))
      bar.update(step, detail: "reward 0.5")
    }
    bar.finish()
  }
  #expect(screen(text) == ["rollout  20/40  50%  0:10 < 0:10  2.0/s  reward 0.5", ""])
  #expect(text.contains("rollout  █"))
}

@Test func drawingIsRateLimited() {
  for (terminal, most) in [(interactive, 12), (log, 2)] {
    let clock = ManualClock()
    let text = written(to: terminal) { console in
      let bar = ProgressBar("train", total: 1000, console: console, now: { clock.now })
      for step in 1...1000 {
        clock.advance(.milliseconds(1))
        bar.update(step)
      }
      bar.finish()
    }
    #expect(text.components(separatedBy: "train").count - 1 <= most, "\(text)")
    #expect(text.contains("train  1000/1000  100%  0:01  1000.0/s\n"))
  }
}

@Test func aLogGetsPlainLines() {
  let clock = ManualClock()
  let text = written(to: log) { console in
    let bar = ProgressBar("eval", total: 3, console: console, now: { clock.now })
    for step in 1...3 {
      clock.advance(.seconds(100))
      bar.update(step)
    }
    bar.finish(detail: "accuracy 0.7")
  }
  #expect(
    text == """
      eval  0/3  0%  0:00
      eval  1/3  33%  1:40 < 3:20  100.0 s each
      eval  2/3  66%  3:20 < 1:40  100.0 s each
      eval  3/3  100%  5:00  100.0 s each
      eval  3/3  100%  5:00  100.0 s each  accuracy 0.7

      """)
}

@Test(arguments: [0, 1, 10, 20, 30, 40, 60, 80, 200])
func aBarFitsItsWidth(width: Int) {
  for (completed, total) in [(0, 0), (0, 10), (3, 10), (10, 10), (15, 10), (1, 1_000_000)] {
    for isUnicode in [true, false] {
      var progress = ProgressLine(title: "title", total: total)
      (progress.completed, progress.elapsed, progress.detail) = (completed, .seconds(90_000), "some detail")
      #expect(progress.line(width: width, isUnicode: isUnicode).count <= width)
    }
  }
}

@Test func stepsAreWrappedAtTheWidth() {
  let metrics: Metrics = ["rollout/raw_reward": 0.53125, "train/loss": 1.25e-7, "train/grad_norm": 123_456.7, "n": 12]
  let text = written(to: Terminal(isInteractive: true, width: 50)) { console in
    ConsoleSink(console) { $0 != "hidden" }.record(metrics, step: 7)
  }
  #expect(
    text == """
      step 7  rollout/raw_reward 0.5312
              train/loss 1.25e-07
              train/grad_norm 123457  n 12

      """)
}

@Test(arguments: [
  (["LANG": "en_US.UTF-8"], true), (["LANG": "C"], false), ([:], false), (["LC_ALL": "C", "LANG": "en_US.UTF-8"], false),
  (["LC_ALL": "", "LC_CTYPE": "de_DE.utf8", "LANG": "C"], true),
])
func theLocaleSaysWhetherUnicodeIsShown(environment: [String: String], isUnicode: Bool) {
  #expect(Terminal(descriptor: -1, environment: environment).isUnicode == isUnicode)
}
