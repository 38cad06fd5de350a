package shop;

import tools.jackson.databind.JsonNode;

/**
 * The answer to a request: docs/contract.md, "An outcome". A text that is not there is empty. value is the
 * whole JSON object, for what is handed on without being looked into.
 */
record Outcome(
    String id,
    String result,
    boolean safeToReissue,
    String outTradeNo,
    String mchId,
    String subMchId,
    String requestId,
    String replacement,
    String code,
    int replay,
    Source source,
    JsonNode value) {

  /** The record that is answered. */
  record Source(String topic, int partition, long offset) {}

  /** What names a request. */
  record Request(String mchId, String subMchId, String outTradeNo, String requestId) {}

  /**
   * Reads the value of an outcome; id is its ce_id. Fields that it does not know are ignored, as new ones may
   * come. What an action would rest on must be there: nothing is guessed.
   *
   * @throws IllegalArgumentException says what is missing or wrong
   */
  static Outcome of(String id, JsonNode value) {
    String result = text(value, "outcome");
    switch (result) {
      case "closed", "paid", "failed" -> {}
      default -> throw new IllegalArgumentException("outcome is \"" + result + "\", not closed, paid or failed");
    }
    JsonNode safe = value.path("safe_to_reissue");
    if (!safe.isBoolean()) {
      throw new IllegalArgumentException("safe_to_reissue is neither true nor false");
    }
    if (safe.booleanValue() && !result.equals("closed")) {
      throw new IllegalArgumentException("safe_to_reissue is true, and outcome is " + result);
    }
    JsonNode source = value.path("source");
    return new Outcome(
        id,
        result,
        safe.booleanValue(),
        text(value, "out_trade_no"),
        text(value, "mch_id"),
        text(value, "sub_mch_id"),
        text(value, "request_id"),
        text(value, "replacement_out_trade_no"),
        text(value, "code"),
        (int) number(value, "replay"),
        new Source(text(source, "topic"), (int) number(source, "partition"), number(source, "offset")),
        value);
  }

  /** Whether nothing can supersede it. */
  boolean isFinal() {
    return result.equals("closed") || result.equals("paid");
  }

  Request request() {
    return new Request(mchId, subMchId, outTradeNo, requestId);
  }

  /** Whether it says which request it answers. An answer to an unreadable record names its place alone. */
  boolean isNamed() {
    return !outTradeNo.isEmpty() || !requestId.isEmpty();
  }

  private static String text(JsonNode object, String field) {
    JsonNode node = object.path(field);
    if (node.isMissingNode()) {
      return "";
    }
    if (!node.isString()) {
      throw new IllegalArgumentException(field + " is no text");
    }
    return node.stringValue();
  }

  private static long number(JsonNode object, String field) {
    JsonNode node = object.path(field);
    if (!node.isIntegralNumber() || !node.canConvertToLong()) {
      throw new IllegalArgumentException(field + " is no whole number");
    }
    return node.longValue();
  }
}
