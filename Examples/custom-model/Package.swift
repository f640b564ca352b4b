// swift-tools-version: 6.1
import Foundation
import PackageDescription

// Where slime was built: its modules are compiled against, and its libraries are those of the program that loads this one.
let slime = Context.environment["SLIME_ROOT"] ?? Context.packageDirectory + "/../.."
let modules = "\(slime)/.build/release/Modules"

let package = Package(
  name: "custom-model",
  platforms: [.macOS(.v15)],
  products: [.library(name: "ParallelBlocks", type: .dynamic, targets: ["ParallelBlocks"])],
  targets: [
    .target(
      name: "ParallelBlocks",
      swiftSettings: [.unsafeFlags(["-I", modules, "-Xcc", "-fmodule-map-file=\(slime)/.build/release/CTorch.build/module.modulemap"])])
  ],
  swiftLanguageModes: [.v6]
)
