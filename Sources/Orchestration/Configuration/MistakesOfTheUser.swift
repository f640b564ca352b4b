import Checkpoints
import Inference
import Models
import Rollout
import Tokenization

// What is wrong with files and values that the user gave: the process ends with exit code 2, wherever it was noticed.

extension CheckpointError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension ModelError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension TokenizerError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension ChatTemplateError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension DatasetError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension SampleError: ExitCodeError { public var exitCode: Int32 { 2 } }
extension InvalidRequest: ExitCodeError { public var exitCode: Int32 { 2 } }
