// swift-tools-version: 6.1
import Foundation
import PackageDescription

// libtorch lives in .deps/, fetched and unpacked by ./slime.
let torch = Context.packageDirectory + "/.deps/torch"
let cuda = Context.packageDirectory + "/.deps/nvidia/cu13"

let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")

// c10d's Gloo header needs a few declarations that the torch wheel does not carry.
let gloo = Context.packageDirectory + "/Sources/CTorch/gloo"

/// The rooms, from the ground up. A module imports only modules above its own line.
let rooms: [(name: String, dependencies: [Target.Dependency])] = [
  ("JSON", []),
  ("Torch", ["CTorch"]),
  ("Checkpoints", ["Torch", "JSON"]),
  ("Tokenization", ["JSON"]),
  ("RLAlgorithms", ["Torch"]),
  ("Parallelism", ["Torch"]),
  ("Models", ["Torch", "JSON", "Checkpoints", "Parallelism"]),
  ("Training", ["JSON", "Torch", "RLAlgorithms", "Checkpoints", "Models", "Parallelism"]),
  ("Inference", ["Torch", "JSON", "Tokenization", "Checkpoints", "Parallelism", "Models"]),
  ("Serving", ["JSON", "Tokenization", "Inference", hummingbird]),
  ("WeightSync", ["Torch", "Training", "Inference"]),
  ("Rollout", ["JSON", "Tokenization", "Training", "Inference"]),
  ("Observability", ["JSON"]),
  ("Orchestration", ["JSON", "Observability", "Training", "Inference", "WeightSync", "Rollout"]),
]

/// While rooms are still being furnished, a target without a folder is left out.
func exists(_ folder: String) -> Bool {
  let files = FileManager.default.enumerator(atPath: Context.packageDirectory + "/" + folder)?.allObjects ?? []
  return files.contains { ["swift", "cpp"].contains(URL(fileURLWithPath: "\($0)").pathExtension) }
}
func exists(_ target: Target) -> Bool { exists((target.isTest ? "Tests/" : "Sources/") + target.name) }

/// The dependencies that are there.
func present(_ dependencies: [Target.Dependency]) -> [Target.Dependency] {
  dependencies.filter {
    if case .byNameItem(let name, _) = $0 { exists("Sources/" + name) || exists("Tests/" + name) } else { true }
  }
}

let roomTargets: [Target] = rooms.map { .target(name: $0.name, dependencies: present($0.dependencies)) }
let testTargets: [Target] = (rooms + [("SlimeCLI", ["Rollout", "Orchestration"])]).map {
  .testTarget(
    name: $0.name + "Tests",
    dependencies: present(
      [.byName(name: $0.name)] + $0.dependencies + ["TestSupport"]
        + ($0.name == "Orchestration" ? ["OrchestrationTestWorker"] : [])))
}

let package = Package(
  name: "slime",
  platforms: [.macOS(.v15)],
  products: exists("Sources/SlimeCLI") ? [.executable(name: "slime", targets: ["SlimeCLI"])] : [],
  dependencies: [
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
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
    .executableTarget(
      name: "OrchestrationTestWorker", dependencies: present(["Orchestration"]), path: "Tests/OrchestrationTestWorker"),
    .executableTarget(name: "SlimeCLI", dependencies: present(["Serving", "Rollout", "RLAlgorithms", "Orchestration"])),
    .target(name: "TestSupport", dependencies: ["Torch"], path: "Tests/TestSupport"),
  ].filter { exists($0) || $0.path != nil } + roomTargets.filter(exists) + testTargets.filter(exists),
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx20
)
