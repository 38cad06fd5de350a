package shop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

class ClerkTest {
  private final ByteArrayOutputStream lines = new ByteArrayOutputStream();
  private final List<String> asked = new ArrayList<>();
  private final Clerk clerk =
      new Clerk(
          new PrintStream(lines, true, StandardCharsets.UTF_8),
          (outTradeNo, requestId, value) -> asked.add(new String(value, StandardCharsets.UTF_8)),
          Duration.ofSeconds(60));
  private long offset;

  @Test
  void whatCannotBeReadGoesToAPersonEachTime() throws Exception {
    record("closed", "text");
    record("closed", "[]");
    record("closed", "{\"outcome\":\"closed\",\"safe_to_reissue\":\"true\"}");
    record("paid", answer("closed", "r-1", true, ""));
    record("failed", answer("failed", "r-1", true, ""));
    clerk.take(new ConsumerRecord<>("closeorder.outcomes", 0, offset++, null, null)); // a tombstone, without a header
    assertEquals("{\"action\":\"person\",\"out_trade_no\":\"\",\"request_id\":\"\"}\n".repeat(6), printed());
    assertEquals(6, clerk.actions());
  }

  @Test
  void answersThatNameNothingAreAskedAboutOneByOne() throws Exception {
    String first = "{\"outcome\":\"failed\",\"safe_to_reissue\":false,\"replay\":0,\"source\":{\"topic\":\"t\",\"partition\":0,\"offset\":1}}";
    record("failed", first);
    record("failed", first.replace("\"offset\":1", "\"offset\":2"));
    record("failed", first);
    assertEquals(2, clerk.actions());
    assertTrue(asked.isEmpty(), "there is nothing to ask with");
  }

  @Test
  void aRequestThatWasPublishedTwiceIsActedOnOnce() throws Exception {
    record("closed", answer("closed", "r-1", true, ",\"replacement_out_trade_no\":\"T1-2\""));
    record("closed", answer("closed", "r-1", true, ",\"replacement_out_trade_no\":\"T1-2\""));
    assertEquals(
        "{\"action\":\"reissue\",\"out_trade_no\":\"T1\",\"request_id\":\"r-1\",\"new_out_trade_no\":\"T1-2\"}\n", printed());
  }

  @Test
  void whatIsAskedAgainHasANewNameItsAgeAndItsMetadata() throws Exception {
    String metadata = "{\"order_created_at\":\"2026-01-31T08:00:00Z\",\"fee\":1.10,\"id\":12345678901234567890}";
    record("closed", answer("closed", "r-1", false, ",\"metadata\":" + metadata));
    assertEquals("{\"action\":\"ask_again\",\"out_trade_no\":\"T1\",\"request_id\":\"r-1\"}\n", printed());
    assertTrue(asked.get(0).contains(metadata), asked.get(0));
    JsonNode request = JsonMapper.shared().readTree(asked.get(0));
    assertEquals("r-1+2", request.path("request_id").stringValue());
    assertEquals("2026-01-31T08:00:00Z", request.path("order_created_at").stringValue());
    assertTrue(Instant.parse(request.path("not_before").stringValue()).isAfter(Instant.now()));
    assertFalse(request.has("code"));
  }

  @Test
  void aFailedIsAskedAgainOnce() throws Exception {
    record("failed", answer("failed", "r-1", false, ""));
    record("failed", answer("failed", "r-1+2", false, ""));
    assertEquals(2, clerk.actions());
    assertEquals(1, asked.size());
  }

  @Test
  void namesGoOn() {
    assertEquals("c-1+2", Clerk.following("c-1"));
    assertEquals("c-1+3", Clerk.following("c-1+2"));
    assertEquals("c+x+2", Clerk.following("c+x"));
  }

  private static String answer(String result, String requestId, boolean safe, String more) {
    return "{\"outcome\":\"" + result + "\",\"out_trade_no\":\"T1\",\"mch_id\":\"1900000109\",\"request_id\":\"" + requestId
        + "\",\"safe_to_reissue\":" + safe + ",\"code\":\"X\",\"replay\":0,\"source\":{\"topic\":\"t\",\"partition\":0,\"offset\":OFFSET}" + more + "}";
  }

  private void record(String type, String value) throws IOException, InterruptedException {
    String text = value.replace("OFFSET", Long.toString(offset));
    ConsumerRecord<byte[], byte[]> record =
        new ConsumerRecord<>("closeorder.outcomes", 0, offset, null, text.getBytes(StandardCharsets.UTF_8));
    String[][] headers = {
      {"ce_specversion", "1.0"}, {"ce_id", "id-" + offset}, {"ce_source", "/closeorder"},
      {"ce_type", "closeorder." + type}, {"content-type", "application/json"}
    };
    for (String[] header : headers) {
      record.headers().add(header[0], header[1].getBytes(StandardCharsets.UTF_8));
    }
    offset++;
    clerk.take(record);
  }

  private String printed() {
    return lines.toString(StandardCharsets.UTF_8).replace("\r\n", "\n");
  }
}
