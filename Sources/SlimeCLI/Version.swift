/// slime's own version.
let version = "0.1.0"

/// One line for each part that is linked.
var versions: String { "slime \(version)" }
