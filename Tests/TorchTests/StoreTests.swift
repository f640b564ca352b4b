import Foundation
import TestSupport
import Testing
import Torch

@Suite struct StoreTests {
  @Test func keysOfPrefixesAreApart() throws {
    let store = try Store.inProcess()
    try store.set("key", "outer")
    try store.prefixed("a").set("key", "inner")
    #expect(try store.get("key", timeout: .seconds(1)) == "outer")
    #expect(try store.prefixed("a").get("key", timeout: .seconds(1)) == "inner")
  }

  @Test func waitingEndsWithASentence() throws {
    let error = message { _ = try Store.inProcess().get("nothing", timeout: .milliseconds(200)) }
    #expect(error?.hasPrefix("no rank wrote 'nothing' within 0.2 seconds") == true)
  }

  @Test func overTCP() throws {
    let server = try Store.tcp(host: "127.0.0.1", port: 0, isServer: true, rankCount: 2, timeout: .seconds(5))
    #expect(server.port > 0)
    let client = try Store.tcp(host: "127.0.0.1", port: server.port, isServer: false, rankCount: 2, timeout: .seconds(5))
    try client.set("address", "10.0.0.1:5000 ü")
    #expect(try server.get("address", timeout: .seconds(5)) == "10.0.0.1:5000 ü")
  }

  @Test func badAddressesAreErrors() {
    func error(_ host: String, _ port: Int) -> String? {
      message { _ = try Store.tcp(host: host, port: port, isServer: false, rankCount: 2, timeout: .milliseconds(300)) }
    }
    #expect(error("127.0.0.1", 99999)?.contains("99999 is not a TCP port") == true)
    #expect(error("127.0.0.1", -1)?.contains("-1 is not a TCP port") == true)
    #expect(error("127.0.0.1", 0)?.contains("0 is not a TCP port") == true)
    #expect(error("127.0.0.1", 1)?.hasPrefix("a TCP store at 127.0.0.1:1 could not be made") == true)
  }

  /// Ranks as processes, meeting over TCP as those of a real run do.
  @Test func ranksAsProcesses() async throws {
    let server = try Store.tcp(host: "127.0.0.1", port: 0, isServer: true, rankCount: 3, timeout: .seconds(20))
    let port = server.port
    async let first: Void = rankProcess(0, port)
    async let second: Void = rankProcess(1, port)
    _ = await (first, second)
    #expect(try server.get("sum0", timeout: .seconds(5)) == "3.0")
    #expect(try server.get("sum1", timeout: .seconds(5)) == "3.0")
  }

  private func rankProcess(_ rank: Int, _ port: Int) async {
    await #expect(processExitsWith: .success) { [rank, port] in
      let store = try Store.tcp(host: "127.0.0.1", port: port, isServer: false, rankCount: 3, timeout: .seconds(20))
      let group = try ProcessGroup.gloo("world", store: store, rank: rank, size: 2, timeout: .seconds(20))
      let tensor = Tensor.full([4], rank + 1)
      group.allReduce(tensor)
      try store.set("sum\(rank)", "\(tensor[3].item())")
      group.barrier()
    }
  }
}
