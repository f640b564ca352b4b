import Inference
import JSON

/// `tools` and `tool_choice` of a chat request.
struct ToolChoice: Sendable {
  enum Mode: Equatable { case auto, none, required, named(String) }

  /// As the chat template takes them; nil where the model is not told of any.
  let tools: [JSONValue]?
  let functions: [(name: String, parameters: JSONValue)]
  let mode: Mode
  /// Whether more than one call is wanted.
  let isParallel: Bool

  init(_ fields: Fields) throws(InvalidRequest) {
    let tools = try fields.array("tools") ?? []
    var functions: [(name: String, parameters: JSONValue)] = []
    for tool in tools {
      guard tool["type"]?.string ?? "function" == "function", let name = tool["function"]?["name"]?.string, !name.isEmpty else {
        throw InvalidRequest("each element of tools must be an object of type function with an object function that has a name.")
      }
      guard !functions.contains(where: { $0.name == name }) else {
        throw InvalidRequest("tools has two functions named \(name); give each a name of its own.")
      }
      functions.append((name, tool["function"]?["parameters"] ?? ["type": "object", "properties": [:]]))
    }
    self.functions = functions
    mode = try Self.mode(fields, functions.map(\.name))
    self.tools = tools.isEmpty || mode == .none ? nil : tools
    isParallel = try fields.bool("parallel_tool_calls") ?? true
  }

  private static func mode(_ fields: Fields, _ names: [String]) throws(InvalidRequest) -> Mode {
    guard let choice = fields["tool_choice"] else { return .auto }
    switch choice {
    case "auto": return .auto
    case "none": return .none
    case "required":
      guard !names.isEmpty else { throw InvalidRequest("tool_choice required needs tools to choose from.") }
      return .required
    default:
      guard choice["type"] == "function", let name = choice["function"]?["name"]?.string else {
        throw InvalidRequest(
          "tool_choice must be auto, none, required, or an object of type function with the function's name.")
      }
      guard names.contains(name) else {
        throw InvalidRequest("tool_choice names the function \(name), which is not among the tools.")
      }
      return .named(name)
    }
  }

  /// The JSON schema of a response that must be calls, as SGLang makes it; nil: it may be anything.
  func schema() throws(InvalidRequest) -> String? {
    let callable: [(name: String, parameters: JSONValue)]
    switch mode {
    case .auto, .none: return nil
    case .required: callable = functions
    case .named(let name): callable = functions.filter { $0.name == name }
    }
    var definitions: JSONObject = [:]
    var calls: [JSONValue] = []
    for (name, parameters) in callable {
      var parameters = parameters
      if var object = parameters.object {
        for (key, value) in object["$defs"]?.object?.pairs ?? [] {
          guard definitions[key] ?? value == value else {
            throw InvalidRequest("the tools' parameters have two different $defs named \(key); rename one.")
          }
          definitions[key] = value
        }
        object["$defs"] = nil
        parameters = .object(object)
      }
      calls.append([
        "type": "object", "properties": ["name": ["enum": [.string(name)]], "parameters": parameters],
        "required": ["name", "parameters"], "additionalProperties": false,
      ])
    }
    var schema: JSONObject = [
      "type": "array", "minItems": 1, "items": calls.count == 1 ? calls[0] : ["anyOf": .array(calls)],
    ]
    if case .named = mode { schema["maxItems"] = 1 } else if !isParallel { schema["maxItems"] = 1 }
    if !definitions.isEmpty { schema["$defs"] = .object(definitions) }
    return JSONValue.object(schema).text()
  }

  /// Finds the calls in responses; nil: there are none to look for.
  func parser(_ format: ToolCallFormat?) -> ToolCallParser? {
    let names = Set(functions.map(\.name))
    switch mode {
    case .none: return nil
    case .auto: return tools == nil ? nil : format.map { ToolCallParser(grammar: $0.grammar, functions: names) }
    case .required, .named: return ToolCallParser(grammar: .array, functions: names)
    }
  }
}
