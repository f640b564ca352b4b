import JSON
import Torch

/// Where and how a `Server` listens.
public struct ServerConfiguration: Sendable {
  public var host: String
  /// 0 takes any free port.
  public var port: Int
  /// When set, every route but the health checks and the metrics wants `Authorization: Bearer <key>`.
  public var apiKey: String?
  /// When set, the routes that control the server want this key instead.
  public var adminAPIKey: String?
  /// The name `/v1/models` shows; nil: the model's path.
  public var servedModelName: String?
  /// How the model writes calls of functions; nil: calls stay in the text, unless one is required.
  public var toolCallParser: ToolCallFormat?
  /// How the model separates its thoughts; nil: they stay in the text.
  public var reasoningParser: ReasoningFormat?
  /// Whether a stream of `/generate` carries only what is new, not all so far.
  public var incrementalStreamingOutput = false
  /// A larger request body is answered with 413.
  public var maxBodyBytes = 256 << 20
  /// The same for requests that carry weights.
  public var maxWeightBytes = 4 << 30
  /// How long the ranks of a group for weights may be waited for, and each of their broadcasts.
  public var weightGroupTimeout: Duration = .seconds(120)
  /// Where the engine's weights lie: groups over NCCL receive there.
  public var device = Device.cpu
  /// How long `/health_generate` waits for a token.
  public var healthTimeout: Duration = .seconds(20)
  /// How long running requests may go on once the server is told to stop; then they are aborted.
  public var drainTimeout: Duration = .seconds(5)
  /// Further entries of `/server_info`, such as the flags of the command.
  public var arguments: JSONObject = [:]

  public init(host: String = "127.0.0.1", port: Int = 30000, apiKey: String? = nil, servedModelName: String? = nil) {
    (self.host, self.port, self.apiKey, self.servedModelName) = (host, port, apiKey, servedModelName)
  }
}
