import Distributed

/// Collects the arguments of an outgoing call, each with its byte count before it.
public struct CallEncoder: DistributedTargetInvocationEncoder {
  public typealias SerializationRequirement = Codable & Sendable

  private(set) var arguments: [UInt8] = []

  public mutating func recordArgument<Value: Codable & Sendable>(_ argument: RemoteCallArgument<Value>) throws {
    try arguments.appendSized { try BinaryEncoder().encode(argument.value, into: &$0) }
  }

  public mutating func recordGenericSubstitution<T>(_ type: T.Type) throws {
    throw UnreachableActor(description: "generic distributed methods cannot be called in another process")
  }

  public mutating func recordReturnType<R: Codable & Sendable>(_ type: R.Type) throws {}
  public mutating func recordErrorType<E: Error>(_ type: E.Type) throws {}
  public mutating func doneRecording() throws {}
}

/// Hands out the arguments of an incoming call.
public struct CallDecoder: DistributedTargetInvocationDecoder {
  public typealias SerializationRequirement = Codable & Sendable

  private var reader: BinaryReader
  private let decoder: BinaryDecoder

  init(_ arguments: [UInt8], _ controlPlane: ControlPlane) {
    reader = BinaryReader(arguments, arguments.indices)
    decoder = controlPlane.decoder
  }

  public mutating func decodeNextArgument<Argument: Codable & Sendable>() throws -> Argument {
    let range = try reader.take(UInt64(try reader.fixed(UInt32.self)))
    return try decoder.decode(Argument.self, from: reader.bytes, in: range)
  }

  public mutating func decodeGenericSubstitutions() throws -> [Any.Type] { [] }
  public mutating func decodeErrorType() throws -> Any.Type? { nil }
  public mutating func decodeReturnType() throws -> Any.Type? { nil }
}

/// Keeps how an incoming call ended.
public final class CallResultHandler: DistributedTargetInvocationResultHandler {
  public typealias SerializationRequirement = Codable & Sendable

  private(set) var reply = ActorReply.value([])

  public func onReturn<Success: Codable & Sendable>(value: Success) async throws {
    reply = .value(try BinaryEncoder().encode(value))
  }

  public func onReturnVoid() async throws {}

  public func onThrow<Err: Error>(error: Err) async throws { reply = .failure(CallFailure(error)) }
}
