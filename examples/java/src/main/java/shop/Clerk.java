package shop;

import io.cloudevents.CloudEvent;
import io.cloudevents.CloudEventData;
import io.cloudevents.kafka.CloudEventDeserializer;
import java.io.IOException;
import java.io.PrintStream;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * What an order service does about outcomes, each request once. An action is a line of JSON on standard
 * output; yours are in its place. Not safe for concurrent use.
 */
final class Clerk {
  /** Publishes a request, and returns when it is written; IOException where that is not known. */
  interface Asking {
    void ask(String outTradeNo, String requestId, byte[] value) throws IOException, InterruptedException;
  }

  // metadata is handed on: its fractions must come out as they went in.
  private static final JsonMapper JSON =
      JsonMapper.builder().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS).build();
  private static final Pattern ASKED_AGAIN = Pattern.compile("(.+)\\+([0-9]{1,6})", Pattern.DOTALL);
  private static final List<String> ECHOED =
      List.of("mch_id", "appid", "sub_mch_id", "sub_appid", "out_trade_no", "replacement_out_trade_no", "metadata");

  private final CloudEventDeserializer cloudEvents = new CloudEventDeserializer();
  private final PrintStream out;
  private final Asking asking;
  private final Duration pause;
  private int actions;

  // One outcome for each request. In your service this is a table with the request as its key, and what you do
  // about an outcome is written in one transaction with the row: then a crash in between repeats nothing
  // (examples/shop). Here it is in memory: what was not committed when the process died is acted on again.
  private final Map<Object, Outcome> kept = new HashMap<>();

  Clerk(PrintStream out, Asking asking, Duration pause) {
    this.out = out;
    this.asking = asking;
    this.pause = pause;
  }

  int actions() {
    return actions;
  }

  /** Acts on a record of the outcomes topic, unless it says nothing new. */
  void take(ConsumerRecord<byte[], byte[]> record) throws IOException, InterruptedException {
    Outcome next;
    try {
      next = read(record);
    } catch (RuntimeException e) {
      // A person looks at it, and the outcomes behind it are read on: one record must not hold up all orders.
      String why = String.valueOf(e.getMessage()).lines().findFirst().orElse("");
      System.err.printf("follow: %s: not an outcome: %s%n", place(record), why);
      say("person", "", "", "");
      return;
    }
    // The ce_id alone is not enough: a request that was published twice has two outcomes with an id each, and acting
    // on both issues two numbers.
    Object request = next.isNamed() ? next.request() : List.of(next.source(), next.replay());
    Outcome current = kept.get(request);
    if (current != null && !Precedence.supersedes(current, next)) {
      return;
    }
    act(next);
    kept.put(request, next);
  }

  /** Where a record stands, for people who look for it. */
  static String place(ConsumerRecord<?, ?> record) {
    return "topic " + record.topic() + ", partition " + record.partition() + ", offset " + record.offset();
  }

  // Every outcome is a CloudEvent in binary mode; any exception means that the record is none.
  private Outcome read(ConsumerRecord<byte[], byte[]> record) {
    CloudEvent event = cloudEvents.deserialize(record.topic(), record.headers(), record.value());
    CloudEventData data = event.getData();
    if (data == null) {
      throw new IllegalArgumentException("it has no value");
    }
    Outcome outcome = Outcome.of(event.getId(), JSON.readTree(data.toBytes()));
    if (!event.getType().equals("closeorder." + outcome.result())) {
      throw new IllegalArgumentException("its type is " + event.getType() + ", and outcome is " + outcome.result());
    }
    return outcome;
  }

  // By outcome and safe_to_reissue alone: a code is for people, and new ones may come.
  private void act(Outcome o) throws IOException, InterruptedException {
    switch (o.result()) {
      // The buyer has paid after all: deliver. If the purchase is paid or given up already, refund.
      case "paid" -> say("settle", o.outTradeNo(), o.requestId(), "");
      case "closed" -> {
        if (!o.safeToReissue()) {
          // Nothing is payable now, but a create call that is still on its way may make it so: no new number yet.
          askAgain(o);
          say("ask_again", o.outTradeNo(), o.requestId(), "");
        } else if (o.replacement().isEmpty()) {
          say("give_up", o.outTradeNo(), o.requestId(), "");
        } else {
          // The old number can never be paid. Issue the new one, if the old one is still the purchase's current one
          // and the purchase is open.
          say("reissue", o.outTradeNo(), o.requestId(), o.replacement());
        }
      }
      default -> {
        // failed: nothing is known, the order may be payable. A person sees to it, and it is asked about once more: in
        // your service again and again, with growing pauses.
        if (!o.outTradeNo().isEmpty() && !o.mchId().isEmpty() && !ASKED_AGAIN.matcher(o.requestId()).matches()) {
          askAgain(o);
        }
        say("person", o.outTradeNo(), o.requestId(), "");
      }
    }
  }

  // Publishes the request under a new request_id, as an answer under the old one would be taken for a repeat. It is
  // written before the outcome is committed, and waits at the worker (not_before) and not here: a crash loses nothing.
  private void askAgain(Outcome o) throws IOException, InterruptedException {
    ObjectNode request = JSON.createObjectNode();
    for (String field : ECHOED) {
      JsonNode value = o.value().get(field);
      if (value != null) {
        request.set(field, value);
      }
    }
    String requestId = following(o.requestId());
    request.put("request_id", requestId);
    // The age of the order makes "nobody has ever seen it" safe. Your service knows when it sent the last create call;
    // here metadata has brought it along.
    JsonNode created = o.value().path("metadata").path("order_created_at");
    if (created.isString()) {
      request.set("order_created_at", created);
    }
    if (!pause.isZero()) {
      // Instant, unlike OffsetDateTime, writes seconds also where they are zero.
      request.put("not_before", Instant.now().plus(pause).truncatedTo(ChronoUnit.SECONDS).toString());
    }
    asking.ask(o.outTradeNo(), requestId, JSON.writeValueAsBytes(request));
  }

  /** The name of the next request about an order: c-1, c-1+2, c-1+3. */
  static String following(String requestId) {
    Matcher asked = ASKED_AGAIN.matcher(requestId);
    return asked.matches() ? asked.group(1) + "+" + (Integer.parseInt(asked.group(2)) + 1) : requestId + "+2";
  }

  private void say(String action, String outTradeNo, String requestId, String newOutTradeNo) {
    ObjectNode line = JSON.createObjectNode();
    line.put("action", action).put("out_trade_no", outTradeNo).put("request_id", requestId);
    if (!newOutTradeNo.isEmpty()) {
      line.put("new_out_trade_no", newOutTradeNo);
    }
    out.println(line);
    actions++;
  }
}
