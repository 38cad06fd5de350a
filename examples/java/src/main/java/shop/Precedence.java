package shop;

/**
 * Which outcome counts. A request may have more than one: of its replays, or because it was published
 * twice. This is events.Supersedes of closeorder, and testdata/events/precedence.json holds both to the
 * same rows. Known ids alone are not enough: the two outcomes of a request that was published twice have
 * different ids, and who acts on both issues two new numbers.
 */
final class Precedence {
  private Precedence() {}

  /**
   * Whether next takes the place of current as the answer to their request. closed and paid are final;
   * failed gives way to them, and to a failed with a higher replay number. An answer to the same record
   * never does: it is a repeat, and the first counts.
   */
  static boolean supersedes(Outcome current, Outcome next) {
    if (!sameRequest(current, next) || sameRecord(current, next) || current.isFinal()) {
      return false;
    }
    return next.isFinal() || next.replay() > current.replay();
  }

  /**
   * Whether both answer one request: the same request_id about the same order. Where neither the order nor
   * the request could be named, they must answer the same record.
   */
  static boolean sameRequest(Outcome a, Outcome b) {
    if (!a.request().equals(b.request())) {
      return false;
    }
    return a.isNamed() || samePlace(a, b);
  }

  // The id says so; the place does where another program gave ids of its own.
  private static boolean sameRecord(Outcome a, Outcome b) {
    return a.id().equals(b.id()) && !a.id().isEmpty() || samePlace(a, b);
  }

  private static boolean samePlace(Outcome a, Outcome b) {
    return a.source().equals(b.source()) && a.replay() == b.replay();
  }
}
