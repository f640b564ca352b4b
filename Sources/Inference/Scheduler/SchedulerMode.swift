/// Whether a scheduler plans batches, and what became of the running requests when it stopped.
public enum SchedulerMode: Sendable, Equatable {
  case running
  /// Running requests keep their pages and go on from where they stand.
  case pausedInPlace
  /// Running requests were retracted; no page is held.
  case pausedRetracted
  /// All requests that were live at the pause end with `FinishReason.abort`; later ones wait.
  case aborting
}
