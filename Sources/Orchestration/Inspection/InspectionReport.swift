import Training

extension Inspection {
  /// What `slime inspect` prints.
  public var report: String {
    let head = "\(folder): \(architecture.modelType), \(billions(Double(parameterCount))) parameters"
      + (activeParameterCount == parameterCount ? "" : ", of which a token passes \(billions(Double(activeParameterCount)))")
    let sections: [(String, [(String, String)])] = [
      ("architecture", architecture.lines),
      ("parameters", parameters.map { part in
        (part.kind, billions(Double(part.total)) + (part.active == part.total ? "" : ", active \(billions(Double(part.active)))"))
      } + (architecture.tiesEmbeddings ? [("head", "shares the embedding's")] : [])),
      ("weights", weights?.lines ?? [("files", "none in this folder")]),
      ("tokenizer", tokenizer?.lines(modelSize: architecture.vocabularySize) ?? [("tokenizer.json", "none in this folder")]),
      ("memory of training on one GPU in bf16, a sequence of \(training.sequenceLength) tokens at a time, GiB", training.lines),
      ("memory of serving", serving.lines),
      ("sizes that divide the model, each alone", layouts.lines),
    ]
    let width = sections.flatMap { $0.1.map(\.0.count) }.max() ?? 0
    return ([head] + sections.flatMap { title, lines in
      ["", title] + lines.map { "  \($0)\(String(repeating: " ", count: width - $0.count))  \($1)" }
    }).joined(separator: "\n")
  }
}

extension Inspection.Architecture {
  fileprivate var lines: [(String, String)] {
    var lines = [("layers", "\(layers) of hidden size \(hiddenSize)")]
    let cached = latentRank.map { "keys and values from \($0)" } ?? "\(keyValueHeads) of keys and values"
    lines.append(("attention", "\(heads) heads of \(headDimension), \(cached)"))
    if linearAttentionLayers > 0 { lines.append(("gated delta rule", "in \(linearAttentionLayers) layers, in the place of attention")) }
    if let window, windowedLayers > 0 { lines.append(("window", "\(window) positions in \(windowedLayers) layers")) }
    lines.append(("feed-forward", "\(intermediateSize)"))
    if let experts {
      lines.append((
        "experts", "\(experts.count) of \(experts.intermediateSize) in \(experts.layers) layers, \(experts.perToken) a token"
          + (experts.sharedIntermediateSize.map { ", and \($0) for all" } ?? "")))
    }
    if predictionLayers > 0 {
      // Engines draft for no model that keeps states.
      let use = linearAttentionLayers == 0 ? "for drafting (NEXTN); " : ""
      lines.append(("prediction layers", "\(predictionLayers), \(use)trained with --enable-mtp-training"))
    }
    if let vision {
      let side = vision.patchSize * vision.mergeSize
      lines.append(("vision tower", "\(vision.layers) layers of hidden size \(vision.hiddenSize), a token for \(side) x \(side) pixels"))
    }
    lines.append(("vocabulary", "\(vocabularySize)"))
    lines.append(("context", "\(contextLength)" + (rotaryScaling.map { ", rotary scaling \($0)" } ?? "")))
    return lines + [("type", dtype + (quantization.map { ", linear weights in \($0)" } ?? ""))]
  }
}

extension Inspection.StoredWeights {
  fileprivate var lines: [(String, String)] {
    let types = bytes.sorted { $0.value > $1.value }.map { "\(gibibytes($0.value)) GiB of \($0.key)" }
    return [("files", "\(files) with \(tensors) tensors, all that the model needs"), ("types", types.joined(separator: ", "))]
  }
}

extension Inspection.InspectedTokenizer {
  fileprivate func lines(modelSize: Int) -> [(String, String)] {
    let fit = fitsModel ? "fits the model's \(modelSize)" : "DOES NOT FIT the model's \(modelSize)"
    return [("kind", kind), ("vocabulary", "\(vocabularySize), which \(fit)")]
      + specialTokens.map { ($0.role, "\($0.token)" + ($0.id.map { " (\($0))" } ?? ", not in the vocabulary")) }
      + [
        ("ends of a response", endOfSequenceIDs.isEmpty ? "none" : endOfSequenceIDs.map(String.init).joined(separator: ", ")),
        ("chat template", (chatTemplate.map { "from \($0)" } ?? "none")
          + (otherTemplates.isEmpty ? "" : "; further ones: \(otherTemplates.joined(separator: ", "))")),
      ]
  }
}

extension Inspection.TrainingMemory {
  fileprivate var lines: [(String, String)] {
    [
      ("weights", gibibytes(weights)), ("gradients", gibibytes(gradients)), ("optimizer", gibibytes(optimizer)),
      ("activations", "\(gibibytes(activations)), or \(gibibytes(recomputedActivations)) with --recompute-granularity full"),
      ("working memory", gibibytes(working)),
    ]
  }
}

extension Inspection.ServingMemory {
  fileprivate var lines: [(String, String)] {
    [
      ("weights", "\(gibibytes(weights)) GiB" + (float8Weights.map { ", with --quantization fp8 \(gibibytes($0)) GiB" } ?? "")),
      ("KV cache", "\(cachePerToken) bytes a token"),
    ]
  }
}

extension Inspection.WorkingLayouts {
  fileprivate var lines: [(String, String)] {
    [("megatron", megatron.text), ("fsdp", fsdp.map { "any number of ranks" + ($0.expert == [1] ? "" : "; \($0.text)") } ?? "cannot train it")]
      + [("engine", engine.text)]
  }
}

extension Inspection.WorkingLayouts.Sizes {
  fileprivate var text: String {
    let kinds = [("tensor", tensor), ("pipeline", pipeline), ("expert", expert)].filter { $0.1 != [1] }
    return kinds.isEmpty ? "no size above 1"
      : kinds.map { "\($0) \($1.map(String.init).joined(separator: " "))" }.joined(separator: "; ")
  }
}
