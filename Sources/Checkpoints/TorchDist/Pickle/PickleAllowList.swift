/// The functions and classes that a pickle may name.
///
/// They are never called, so the list is no matter of safety alone: a name outside it has no meaning here, and the file
/// is refused with that name.
public struct PickleAllowList: Sendable {
  public private(set) var names: Set<PickleGlobal>

  public init(_ names: Set<PickleGlobal>) { self.names = names }

  /// This list with more names, such as a project's own classes in its `common.pt`.
  public func adding(_ more: [PickleGlobal]) -> PickleAllowList { PickleAllowList(names.union(more)) }

  func contains(_ global: PickleGlobal) -> Bool {
    names.contains(global) || (global.module == "torch" && PickleGlobal.dtypeNames.contains(global.name))
  }

  /// What values of plain types, tensors and numpy's arrays are made of, and what Megatron-Core saves beside them.
  public static let torchSave = PickleAllowList(
    Set(
      [.torchSize, .rebuildTensor, .rebuildTensorWithType, .rebuildParameter, .untypedStorage, .encode]
        + PickleGlobal.dictionaries + PickleGlobal.sets + PickleGlobal.storages.keys + [
          PickleGlobal("torch", "device"), PickleGlobal("torch.serialization", "_get_layout"),
          PickleGlobal("builtins", "bytes"), PickleGlobal("__builtin__", "bytes"),
          PickleGlobal("builtins", "complex"), PickleGlobal("__builtin__", "complex"),
          PickleGlobal("builtins", "slice"), PickleGlobal("__builtin__", "slice"),
          PickleGlobal("builtins", "getattr"), PickleGlobal("__builtin__", "getattr"),
          PickleGlobal("argparse", "Namespace"), PickleGlobal("types", "SimpleNamespace"),
          PickleGlobal("pathlib", "PosixPath"), PickleGlobal("pathlib", "PurePosixPath"),
          PickleGlobal("datetime", "timedelta"), PickleGlobal("signal", "Signals"), PickleGlobal("_io", "BytesIO"),
          PickleGlobal("numpy", "ndarray"), PickleGlobal("numpy", "dtype"),
          PickleGlobal("numpy.core.multiarray", "_reconstruct"), PickleGlobal("numpy.core.multiarray", "scalar"),
          PickleGlobal("numpy._core.multiarray", "_reconstruct"), PickleGlobal("numpy._core.multiarray", "scalar"),
          PickleGlobal("megatron.core.enums", "ModelType"),
          PickleGlobal("megatron.core.transformer.enums", "AttnBackend"),
          PickleGlobal("megatron.core.transformer.enums", "CudaGraphScope"),
          PickleGlobal("megatron.core.rerun_state_machine", "RerunMode"),
          PickleGlobal("megatron.core.rerun_state_machine", "RerunState"),
          PickleGlobal("megatron.core.rerun_state_machine", "RerunDiagnostic"),
        ]))

  /// What `.metadata` of a distributed checkpoint is made of, in PyTorch 2.0 and later and in Megatron-Core.
  public static let checkpointMetadata: PickleAllowList = {
    let metadata = "torch.distributed.checkpoint.metadata"
    let planner = "torch.distributed.checkpoint.planner"
    let sharded = "torch.distributed._shard.sharded_tensor.metadata"
    let megatron = "megatron.core.dist_checkpointing.strategies.torch"
    return PickleAllowList(
      Set(
        [.torchSize] + PickleGlobal.dictionaries + PickleGlobal.sets + [
          PickleGlobal("torch.serialization", "_get_layout"),
          PickleGlobal("builtins", "getattr"), PickleGlobal("__builtin__", "getattr"),
          PickleGlobal(metadata, "Metadata"), PickleGlobal(metadata, "TensorStorageMetadata"),
          PickleGlobal(metadata, "BytesStorageMetadata"), PickleGlobal(metadata, "ChunkStorageMetadata"),
          PickleGlobal(metadata, "TensorProperties"), PickleGlobal(metadata, "_MEM_FORMAT_ENCODING"),
          PickleGlobal(metadata, "MetadataIndex"), PickleGlobal(metadata, "StorageMeta"),
          PickleGlobal(sharded, "TensorProperties"), PickleGlobal(sharded, "MEM_FORMAT_ENCODING"),
          PickleGlobal("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
          PickleGlobal("torch.distributed.checkpoint.filesystem", "_StoragePrefix"),
          PickleGlobal(planner, "SavePlan"), PickleGlobal(planner, "WriteItem"),
          PickleGlobal(planner, "WriteItemType"), PickleGlobal(planner, "TensorWriteData"),
          PickleGlobal(megatron, "MCoreMetadata"), PickleGlobal(megatron, "MCoreSavePlan"),
          PickleGlobal("pathlib", "PosixPath"), PickleGlobal("pathlib", "PurePosixPath"),
          PickleGlobal("pathlib", "WindowsPath"), PickleGlobal("pathlib", "PureWindowsPath"),
          PickleGlobal("pathlib._local", "PosixPath"), PickleGlobal("pathlib._local", "WindowsPath"),
        ]))
  }()
}

extension PickleGlobal {
  static let torchSize = PickleGlobal("torch", "Size")
  static let rebuildTensor = PickleGlobal("torch._utils", "_rebuild_tensor_v2")
  /// For the types that have no storage class of their own.
  static let rebuildTensorWithType = PickleGlobal("torch._utils", "_rebuild_tensor_v3")
  static let rebuildParameter = PickleGlobal("torch._utils", "_rebuild_parameter")
  static let untypedStorage = PickleGlobal("torch.storage", "UntypedStorage")
  static let orderedDictionary = PickleGlobal("collections", "OrderedDict")
  static let encode = PickleGlobal("_codecs", "encode")

  static let dictionaries = [orderedDictionary, PickleGlobal("collections", "defaultdict")]
  static let sets = ["set", "frozenset"].flatMap { [PickleGlobal("builtins", $0), PickleGlobal("__builtin__", $0)] }

  /// The storage classes, with their element types.
  static let storages: [PickleGlobal: String] = [
    PickleGlobal("torch", "FloatStorage"): "float32", PickleGlobal("torch", "DoubleStorage"): "float64",
    PickleGlobal("torch", "HalfStorage"): "float16", PickleGlobal("torch", "BFloat16Storage"): "bfloat16",
    PickleGlobal("torch", "LongStorage"): "int64", PickleGlobal("torch", "IntStorage"): "int32",
    PickleGlobal("torch", "ShortStorage"): "int16", PickleGlobal("torch", "CharStorage"): "int8",
    PickleGlobal("torch", "ByteStorage"): "uint8", PickleGlobal("torch", "BoolStorage"): "bool",
    PickleGlobal("torch", "ComplexFloatStorage"): "complex64",
    PickleGlobal("torch", "ComplexDoubleStorage"): "complex128",
  ]

  /// The element type of a storage class; nil where it has none.
  package static func elementType(ofStorage storage: PickleGlobal) -> String? { storages[storage] }

  /// The storage class of an element type; nil for the types that have none of their own.
  package static func storageClass(ofElement type: String) -> PickleGlobal? { storages.first { $0.value == type }?.key }

  /// The element types of PyTorch by name, with or without tensors of them here.
  static let dtypeNames: Set<String> = [
    "float64", "float32", "float16", "bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8",
    "bool", "complex32", "complex64", "complex128", "quint8", "qint8", "qint32",
  ]
}
