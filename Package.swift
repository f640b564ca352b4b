// swift-tools-version: 6.1
import Foundation
import PackageDescription

// libtorch lives in .deps/, fetched and unpacked by ./slime.
let torch = Context.packageDirectory + "/.deps/torch"
let cuda = Context.packageDirectory + "/.deps/nvidia/cu13"

let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let nio = ["NIOCore", "NIOPosix", "NIOHTTP1"].map { Target.Dependency.product(name: $0, package: "swift-nio") }

// c10d's Gloo header needs a few declarations that the torch wheel does not carry.
let gloo = Context.packageDirectory + "/Sources/CTorch/gloo"

/// The rooms, from the ground up. A module imports only modules above its own line.
let rooms: [(name: String, dependencies: [Target.Dependency])] = [
  ("JSON", []),
  ("Torch", ["CTorch"]),
  ("Images", ["CTorch", "JSON", "Torch"]),
  ("Checkpoints", ["Torch", "JSON"]),
  ("Tokenization", ["JSON"]),
  ("Grammars", ["JSON"]),
  ("RLAlgorithms", ["Torch"]),
  ("Parallelism", ["Torch"]),
  ("Models", ["Torch", "JSON", "Images", "Checkpoints", "Parallelism"]),
  ("Training", ["JSON", "Torch", "Images", "RLAlgorithms", "Checkpoints", "Models", "Parallelism"]),
  ("Inference", ["Torch", "JSON", "Images", "Tokenization", "Grammars", "Checkpoints", "Parallelism", "Models"]),
  ("HTTP", nio),
  ("WeightSync", ["JSON", "HTTP", "Torch", "Checkpoints", "Models", "Inference"]),
  ("Serving", ["JSON", "HTTP", "Images", "Tokenization", "Torch", "Inference", "WeightSync", hummingbird] + nio),
  ("Rollout", ["JSON", "Tokenization", "Torch", "Images", "Training", "Inference"]),
  ("Observability", ["JSON"]),
  (
    "Orchestration",
    [
      "JSON", "Torch", "Checkpoints", "Tokenization", "RLAlgorithms", "Parallelism", "Models", "Training", "Inference",
      "WeightSync", "Serving", "Rollout", "Observability",
    ]
  ),
]

/// What the tests of a room need besides the room and what it is built on.
let testHelpers: [String: [Target.Dependency]] = [
  "Orchestration": ["OrchestrationTestWorker"],
  "Inference": ["Benchmarks", "Training"],
  "Images": ["Checkpoints"],
  "Serving": ["Checkpoints", "Models"],
  "WeightSync": ["Checkpoints"],
]
let tested = [
  "JSON", "Torch", "Images", "Checkpoints", "Tokenization", "Grammars", "RLAlgorithms", "Parallelism", "Models", "Training",
  "Inference", "Serving", "WeightSync", "Rollout", "Observability", "Orchestration",
]
let testTargets: [Target] = rooms.filter { tested.contains($0.name) }.map { room in
  .testTarget(
    name: room.name + "Tests",
    dependencies: [.byName(name: room.name)] + room.dependencies + ["TestSupport"] + (testHelpers[room.name] ?? []))
}

let package = Package(
  name: "slime",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "slime", targets: ["slime"]),
    // For programs that add code of their own.
    .library(name: "Slime", targets: ["SlimeCLI", "Models"]),
  ],
  dependencies: [
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.81.0"),
  ],
  targets: [
    .target(
      name: "CTorch",
      cxxSettings: [
        .unsafeFlags([
          "-I\(gloo)", "-I\(torch)/include", "-I\(torch)/include/torch/csrc/api/include", "-I\(cuda)/include",
          "-Wno-everything", "-DUSE_C10D_GLOO", "-DUSE_DISTRIBUTED", "-fvisibility=hidden",
        ])
      ],
      linkerSettings: [
        // First relative to .build/<triple>/release, so that a folder that was moved or copied still runs.
        .unsafeFlags([
          "-L\(torch)/lib", "-Xlinker", "-rpath", "-Xlinker", "$ORIGIN/../../../.deps/torch/lib",
          "-Xlinker", "-rpath", "-Xlinker", "\(torch)/lib",
        ]),
        .linkedLibrary("torch_cpu"), .linkedLibrary("c10"), .linkedLibrary("stdc++"), .linkedLibrary("dl"),
      ]),
    // Plugins use the program's own copy of the modules.
    .executableTarget(
      name: "slime", dependencies: ["SlimeCLI"], linkerSettings: [.unsafeFlags(["-Xlinker", "--export-dynamic"])]),
    .target(
      name: "SlimeCLI",
      dependencies: [
        "JSON", "Torch", "RLAlgorithms", "Checkpoints", "Tokenization", "Training", "Inference", "WeightSync", "Serving",
        "Rollout", "Orchestration", "Benchmarks",
      ]),
    .testTarget(name: "SlimeCLITests", dependencies: ["JSON", "HTTP", "Torch", "Checkpoints", "slime", "SlimeCLI", "Rollout", "Orchestration", "TestSupport"] + nio),
    .target(
      name: "TestSupport", dependencies: ["JSON", "Torch", "Images", "Checkpoints", "Models"], path: "Tests/TestSupport"),
    .executableTarget(
      name: "OrchestrationTestWorker", dependencies: ["Orchestration"], path: "Tests/OrchestrationTestWorker"),
    // What is timed, and its other side in C++.
    .target(
      name: "Benchmarks",
      dependencies: [
        "JSON", "Tokenization", "Torch", "Checkpoints", "Models", "Parallelism", "Training", "Inference", "WeightSync", "Serving",
        "Rollout", "Observability", "Orchestration", "COperators",
      ],
      path: "Benchmarks",
      exclude: ["COperators", "RESULTS.md", "tokenizers_benchmark.py", "transformers_rollout.py", "transformers_train.py"]),
    .target(
      name: "COperators", path: "Benchmarks/COperators",
      cxxSettings: [.unsafeFlags(["-I\(torch)/include", "-Wno-everything"])]),
  ] + rooms.map { .target(name: $0.name, dependencies: $0.dependencies) } + testTargets,
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)
