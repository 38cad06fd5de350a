package shop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.RecordMetadata;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Publishes close requests: one from flags, or one for each line of standard input, a JSON object with the
 * fields of docs/contract.md. A real order service keeps its requests in an outbox, written in the
 * transaction that gives the order up, and a relay does what this does: see examples/shop.
 */
public final class Request {
  private static final String USAGE =
      """
      request --brokers HOST:PORT,... --mch-id ID --out-trade-no NUMBER [--replacement NUMBER] [--request-id ID]
                     [--order-created-at TIME] [--reason TEXT]
             request --brokers HOST:PORT,... <requests.ndjson""";

  private static final JsonMapper JSON = JsonMapper.shared();

  private record Line(int number, String outTradeNo, String requestId, byte[] value) {}

  private record Sent(Line line, Future<RecordMetadata> answer) {}

  public static void main(String[] args) throws IOException, InterruptedException {
    Flags flags =
        new Flags(
            USAGE,
            Set.of("brokers", "mch-id", "out-trade-no", "replacement", "request-id", "order-created-at", "reason"),
            args);
    String brokers = flags.require("brokers");
    List<Line> lines;
    try {
      lines = flags.has("out-trade-no") || flags.has("mch-id") ? List.of(fromFlags(flags)) : fromInput();
    } catch (IllegalArgumentException e) {
      // All are read before the first one is published: a mistake publishes nothing.
      System.err.println("request: " + e.getMessage());
      System.exit(2);
      return;
    }
    System.exit(publish(brokers, lines) ? 0 : 1);
  }

  private static boolean publish(String brokers, List<Line> lines) throws InterruptedException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    boolean all = true;
    try (Publisher publisher = new Publisher(brokers)) {
      List<Sent> sent = new ArrayList<>();
      for (Line line : lines) {
        sent.add(new Sent(line, publisher.publish(line.outTradeNo(), line.requestId(), line.value())));
      }
      for (Sent s : sent) {
        try {
          RecordMetadata at = s.answer().get();
          // An outcome names its source: where the request itself could not be read, this is how to match them.
          out.println(
              JSON.createObjectNode()
                  .put("out_trade_no", s.line().outTradeNo())
                  .put("topic", at.topic())
                  .put("partition", at.partition())
                  .put("offset", at.offset()));
        } catch (ExecutionException e) {
          // Not known to be published: publish it again, under the same request_id.
          all = false;
          System.err.printf("request: line %d, %s: not known to be written: %s%n", s.line().number(), s.line().outTradeNo(), e.getCause());
        }
      }
    }
    return all;
  }

  private static Line fromFlags(Flags flags) {
    ObjectNode request = JSON.createObjectNode();
    request.put("out_trade_no", flags.require("out-trade-no"));
    request.put("mch_id", flags.require("mch-id"));
    // The name by which the outcome is matched. Your service writes it down with the order before it publishes.
    String requestId = flags.get("request-id", UUID.randomUUID().toString());
    request.put("request_id", requestId);
    if (flags.has("reason")) {
      request.put("reason", flags.get("reason", ""));
    }
    // When the create call was sent. Without it a number that WeChat Pay has never seen is closed, and not safe.
    if (flags.has("order-created-at")) {
      request.put("order_created_at", flags.get("order-created-at", ""));
    }
    // The number to issue next. It comes back with the outcome, so that nothing has to be looked up.
    if (flags.has("replacement")) {
      request.put("replacement_out_trade_no", flags.get("replacement", ""));
    }
    return new Line(1, flags.require("out-trade-no"), requestId, JSON.writeValueAsBytes(request));
  }

  private static List<Line> fromInput() throws IOException {
    List<Line> lines = new ArrayList<>();
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    String text;
    for (int number = 1; (text = input.readLine()) != null; number++) {
      if (text.isBlank()) {
        continue;
      }
      JsonNode request;
      try {
        request = JSON.readTree(text);
      } catch (JacksonException e) {
        throw new IllegalArgumentException("line " + number + ": not JSON: " + e.getOriginalMessage());
      }
      String outTradeNo = request.path("out_trade_no").stringValue("");
      if (outTradeNo.isEmpty()) {
        throw new IllegalArgumentException("line " + number + ": no out_trade_no; it is the key, and must be text");
      }
      // The line as it stands: what is read and written again may come out as another number.
      String requestId = request.path("request_id").stringValue("");
      lines.add(new Line(number, outTradeNo, requestId, text.getBytes(StandardCharsets.UTF_8)));
    }
    return lines;
  }
}
