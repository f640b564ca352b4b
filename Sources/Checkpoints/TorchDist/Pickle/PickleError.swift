/// What is wrong with a pickle, to go behind a file's name.
package struct PickleError: Error {
  package let problem: String
  init(_ problem: String) { self.problem = problem }
}
