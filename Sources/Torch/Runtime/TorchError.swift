import CTorch
import Foundation

/// Something libtorch refused to do, in its words.
public struct TorchError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}

/// Runs `body` (a step, a request) and throws the first error that libtorch met in it on this thread.
///
/// Model code does not say `try` on every line: inside the scope a failed operation gives an undefined tensor, what
/// depends on it fails as well, and the first message is thrown at the end. Outside any scope an error stops the
/// process with its message. A scope inside a scope that has failed already throws the same error at once.
public func catchingTorchErrors<Result>(_ body: () throws -> Result) throws -> Result {
  if let earlier = takeTorchError() {
    ct_raise(earlier.description)
    throw earlier
  }
  ct_scope_add(1)
  let outcome: Swift.Result<Result, any Error>
  do { outcome = .success(try body()) } catch { outcome = .failure(error) }
  ct_scope_add(-1)
  if let error = takeTorchError() { throw error }
  return try outcome.get()
}

/// Fails the running operation with a sentence of our own, in the same way as libtorch does.
package func raiseTorchError(_ message: String) {
  ct_raise(message)
  checkTorchError()
}

/// Runs `body` as if no error waited and takes the error that it leaves; an earlier one waits on.
func isolatingTorchError<Result>(_ body: () -> Result) -> (Result, TorchError?) {
  let earlier = takeTorchError()
  let result = body()
  let error = takeTorchError()
  if let earlier { ct_raise(earlier.description) }
  return (result, error)
}

/// The handle that `body` makes.
/// - Throws: `TorchError` with the sentence that `explain` makes of libtorch's reason.
func requireHandle<Handle>(orThrow explain: (_ reason: String) -> String, _ body: () -> Handle?) throws -> Handle {
  let (handle, error) = isolatingTorchError(body)
  if let handle { return handle }
  throw TorchError(explain(error?.description ?? "no reason given"))
}

func takeTorchError() -> TorchError? {
  guard let text = ct_take_error() else { return nil }
  defer { free(text) }
  return TorchError(String(cString: text))
}

@inline(__always)
func checkTorchError() {
  if ct_has_error() { stopOutsideScope() }
}

@inline(never)
func stopOutsideScope() {
  guard ct_scope_depth() == 0, let error = takeTorchError() else { return }
  fatalError(error.description)
}
