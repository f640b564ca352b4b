import Torch

// What a model makes of its prediction layers.
extension CausalLM {
  /// Runs the first prediction layer, in a model of one stage that has one.
  /// - Parameters:
  ///   - tokens: `[T]`, int64
  ///   - hidden: of the tokens before them, what the layer reads of the model or what this function returned. `[T, hiddenSize]`
  /// - Returns: what `logits` makes predictions of the tokens after `tokens` of. `[T, hiddenSize]`
  public func predicted(_ tokens: Tensor, hidden: Tensor, _ context: ForwardContext) -> Tensor {
    guard let predictor = predictors.first else {
      preconditionFailure("a model without a prediction layer predicts no tokens further on")
    }
    let embedding = embed(tokens)
    let table = rotary.table(positions: context.positions, parts: context.sequenceParts, dtype: embedding.dtype)
    return predictor(embedding: embedding, hidden: hidden, rotary: table, context: context)
  }

  /// Runs all prediction layers after a pass through the last stage, each on what the one before it made. Gradients reach them
  /// alone: what they read of the model is a constant.
  /// - Parameters:
  ///   - tokens: for each layer the tokens that follow those of the pass, one more further on each. `[T]`, int64
  ///   - output: the stage's.
  ///   - context: of the pass; its `layerInputs` are of `predictionInputs`.
  /// - Returns: what `statistics` makes predictions of the tokens after `tokens` of. `[T, hiddenSize]` each
  public func predicted(further tokens: [Tensor], output: Tensor, _ context: ForwardContext) -> [Tensor] {
    var hidden = (context.layerInputs?.tensors.first ?? output).detached()
    var context = context
    // What is recorded or given of routing is of the model's other layers.
    context.routing = context.runner.runsAgain && configuration.mixture != nil ? RoutingRecord() : nil
    let (passed, size) = (context, configuration.hiddenSize)
    let table = rotary.table(positions: context.positions, parts: context.sequenceParts, dtype: hidden.dtype)
    return zip(predictors, tokens).enumerated().map { index, layer in
      let (predictor, place) = (layer.0, layers.count + index)
      let input = Tensor.cat([withoutGradients { embed(layer.1) }, hidden], dim: 1)
      hidden = context.runner.run(
        place..<place + 1, input: input, parameters: parametersByBlock.blocks[place].map(\.tensor)
      ) { input in
        predictor(
          embedding: input.narrow(1, start: 0, length: size), hidden: input.narrow(1, start: size, length: size), rotary: table,
          context: passed)
      }
      return hidden
    }
  }

  /// Runs `body`, whose logits teach the head nothing.
  public func withConstantHead<R>(_ body: () throws -> R) rethrows -> R {
    guard let headWeight else { return try body() }
    let weight = headWeight.tensor
    headWeight.tensor = weight.detached()
    defer { headWeight.tensor = weight }
    return try body()
  }

  /// The embedding where prediction layers are in another stage, which needs a copy to read: the weight in the first stage,
  /// the copy in the last, which is none of the model's weights; nil elsewhere, and where the last stage has it anyway.
  public var embeddingForPrediction: Parameter? {
    guard configuration.predictionLayerCount > 0, configuration.head == .vocabulary, !configuration.tiesEmbeddings,
      stage.holdsEmbedding != stage.holdsHead
    else { return nil }
    return (embedding ?? furtherEmbedding)?.weight
  }
}
