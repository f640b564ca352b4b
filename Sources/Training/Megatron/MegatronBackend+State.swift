import Foundation

extension MegatronBackend {
  public func saveState(into folder: URL) throws {
    throw TrainingError("--save is not supported yet by --train-backend megatron; use --save-hf")
  }

  public func loadState(from folder: URL) throws {
    throw TrainingError("--load is not supported yet by --train-backend megatron")
  }
}
