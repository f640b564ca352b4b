/// A part of a text on its way to the model: text still to be tokenised, or an added token.
struct Piece {
  var start: Int
  var end: Int
  /// The added token's id, or -1 for text.
  var token = -1
}

/// A text cut into pieces, in order.
struct Pieces {
  var bytes: [UInt8]
  var pieces: [Piece]
  /// Whether the first byte of `bytes` is, or stands for, the beginning of what was given to `encode`.
  var startsAtOrigin = true

  /// Cuts every piece of text with `cut`, which calls back with the start and the end of each part that stays.
  mutating func split(_ cut: (UnsafePointer<UInt8>, Piece, (Int, Int) -> Void) -> Void) {
    let old = pieces
    pieces = []
    pieces.reserveCapacity(max(old.count, bytes.count / 4))
    bytes.withUnsafeBufferPointer { buffer in
      guard let text = buffer.baseAddress else { return }
      for piece in old {
        if piece.token >= 0 { pieces.append(piece); continue }
        cut(text, piece) { start, end in
          if end > start { pieces.append(Piece(start: start, end: end)) }
        }
      }
    }
  }

  /// Rewrites every piece of text; pieces that become empty go.
  mutating func rewrite(_ change: (_ text: [UInt8], _ piece: Piece) -> [UInt8]) {
    var (newBytes, newPieces): ([UInt8], [Piece]) = ([], [])
    newBytes.reserveCapacity(bytes.count + bytes.count / 4)
    newPieces.reserveCapacity(pieces.count)
    for piece in pieces {
      let text = Array(bytes[piece.start..<piece.end])
      let start = newBytes.count
      newBytes += piece.token >= 0 ? text : change(text, piece)
      if newBytes.count > start { newPieces.append(Piece(start: start, end: newBytes.count, token: piece.token)) }
    }
    (bytes, pieces) = (newBytes, newPieces)
  }
}
