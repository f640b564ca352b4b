/// The values of `format` that are enforced, as regular expressions over the whole string.
enum SchemaFormats {
  static let patterns: [String: String] = [
    "date": date,
    "time": time,
    "date-time": "(?:\(date))T\(time)",
    "uuid": "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "ipv4": "\(octet)(?:\\.\(octet)){3}",
    "email": "\(atom)(?:\\.\(atom))*@\(label)(?:\\.\(label))*",
    "hostname": "\(label)(?:\\.\(label)){0,3}",
    "uri": "[a-zA-Z][a-zA-Z0-9+.\\-]*:(?://\(authority)(?:/\(segment)*)*|(?:/|\(segment)+)(?:/\(segment)+)*)"
      + "(?:\\?\(query)*)?(?:#\(query)*)?",
  ]

  private static let octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
  private static let atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~\\-]+"
  private static let label = "[a-zA-Z0-9](?:[a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?"
  private static let segment = "(?:[a-zA-Z0-9\\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
  private static let query = "(?:[a-zA-Z0-9\\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})"
  private static let authority =
    "(?:(?:[a-zA-Z0-9\\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})*@)?(?:[a-zA-Z0-9\\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+(?::[0-9]{1,5})?"

  /// A day of a year from 0001 on, leap years included (RFC 3339).
  private static let date =
    "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-"
    + "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    + "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29"
  private static let time =
    "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+\\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
}
