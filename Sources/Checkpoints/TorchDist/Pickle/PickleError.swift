/// What is wrong with a pickle, to go behind a file's name.
package struct PickleError: Error, CustomStringConvertible {
  package let problem: String
  package var description: String { problem }
  package init(_ problem: String) { self.problem = problem }
}
