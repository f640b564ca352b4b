import Foundation
import Images
import Models
import Synchronization

/// Makes the pictures of requests ready for an engine, on a thread beside it: other requests go on meanwhile.
final class ImagePreparer: Sendable {
  /// A request that waits for its pictures.
  private struct Pending {
    let id: String
    var isAborted = false
  }

  private struct State {
    var pending: [Int: Pending] = [:]
    var submissions = 0
  }

  /// A request with as many tokens for each picture as it takes, and its pictures.
  struct Prepared: Sendable {
    var request: GenerateRequest
    let images: RequestImages
  }

  private let model: ModelConfiguration
  private let state = Mutex(State())
  private let queue = DispatchQueue(label: "images")

  init(_ model: ModelConfiguration) { self.model = model }

  /// Calls with the request, or with the `InvalidRequest` that its pictures are, and whether it was aborted meanwhile.
  func prepare(
    _ request: GenerateRequest,
    then complete: @escaping @Sendable (Result<Prepared, any Error>, _ isAborted: Bool) -> Void
  ) {
    let number = state.withLock { state in
      state.submissions += 1
      state.pending[state.submissions] = Pending(id: request.id)
      return state.submissions
    }
    queue.async { [self] in
      let result = Result { try prepared(request) }
      let isAborted = state.withLock { $0.pending.removeValue(forKey: number)!.isAborted }
      complete(result, isAborted)
    }
  }

  /// Marks the waiting requests with this id, or all when nil, as aborted.
  func abort(_ id: String?) {
    state.withLock { state in
      for (number, request) in state.pending where id == nil || request.id == id { state.pending[number]!.isAborted = true }
    }
  }

  private func prepared(_ request: GenerateRequest) throws -> Prepared {
    do {
      let images = try model.prepared(request.images)
      var request = request
      request.tokens = try model.expandingImages(request.tokens, images.grids)
      let prepared = try RequestImages(images, tokens: request.tokens, model.vision!)
      var keys = request.tokens
      for (data, range) in zip(request.images, prepared.positions.images) {
        // Negative, as no token is: the parts of other pictures are other prefixes.
        let key = Int(truncatingIfNeeded: data.withUnsafeBytes(XXHash64.hash)) | .min
        keys.replaceSubrange(range, with: repeatElement(key, count: range.count))
      }
      (request.cacheKeys, request.images) = (keys, [])
      return Prepared(request: request, images: prepared)
    } catch {
      throw InvalidRequest("image_data cannot be used: \(error).")
    }
  }
}
