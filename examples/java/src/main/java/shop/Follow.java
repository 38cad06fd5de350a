package shop;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Follows the outcomes and acts on each request once. Each action is a line of JSON on standard output. */
public final class Follow {
  private static final String USAGE =
      "follow --brokers HOST:PORT,... [--group NAME] [--exit-after ACTIONS] [--ask-again-after SECONDS]";
  private static final String TOPIC = "closeorder.outcomes";

  public static void main(String[] args) throws InterruptedException {
    Flags flags = new Flags(USAGE, Set.of("brokers", "group", "exit-after", "ask-again-after"), args);
    String brokers = flags.require("brokers");
    String group = flags.get("group", "closeorder-example-java");
    Duration pause = Duration.ofSeconds(flags.number("ask-again-after", 60));
    int exitAfter = flags.number("exit-after", 0); // 0: never

    // SIGTERM and Ctrl-C: what is begun is finished and committed, and the group hears that its member leaves.
    AtomicBoolean stopping = new AtomicBoolean();
    CountDownLatch closed = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  stopping.set(true);
                  try {
                    closed.await();
                  } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                  }
                }));
    int code = 0;
    try (Publisher publisher = new Publisher(brokers);
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings(brokers, group))) {
      PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
      Clerk clerk = new Clerk(out, (number, id, value) -> ask(publisher, number, id, value), pause);
      follow(consumer, clerk, () -> stopping.get() || 0 < exitAfter && exitAfter <= clerk.actions());
    } catch (IOException | KafkaException e) {
      // What was not committed is read again by the next start.
      System.err.println("follow: " + e.getMessage());
      code = 1;
    } finally {
      closed.countDown();
    }
    System.exit(code);
  }

  private static Map<String, Object> settings(String brokers, String group) {
    return Map.of(
        ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
        ConsumerConfig.CLIENT_ID_CONFIG, "closeorder-example-java",
        ConsumerConfig.GROUP_ID_CONFIG, group,
        // A new group begins with the oldest outcome: all that was answered before it would be lost otherwise.
        ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
        // Committed by time an outcome may be skipped that nobody has acted on.
        ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
        // One that died is missed after so long, and until then its outcomes wait: the default is 45 s.
        ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 10_000,
        // Java reads what was rolled back as well, unless it is told not to.
        ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
        // Bytes, and not CloudEventDeserializer: an event that it cannot read would be thrown by every poll.
        ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
        ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
  }

  /** Hands all outcomes to the clerk until stop says so, and commits each when it is acted on. */
  private static void follow(KafkaConsumer<byte[], byte[]> consumer, Clerk clerk, BooleanSupplier stop)
      throws IOException, InterruptedException {
    consumer.subscribe(List.of(TOPIC));
    while (!stop.getAsBoolean()) {
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
        if (stop.getAsBoolean()) {
          return;
        }
        clerk.take(record);
        commit(consumer, record);
      }
    }
  }

  // After acting, never before: what is committed is never read again. One by one is slow and simple; by the batch it
  // is as safe.
  private static void commit(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecord<byte[], byte[]> record) {
    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
    try {
      consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
    } catch (CommitFailedException | RebalanceInProgressException e) {
      // Another member has the partition now, or soon, and acts again on what is not committed.
      System.err.printf("follow: %s: not committed: %s%n", Clerk.place(record), e.getMessage());
    }
  }

  private static void ask(Publisher publisher, String outTradeNo, String requestId, byte[] value)
      throws IOException, InterruptedException {
    try {
      publisher.publish(outTradeNo, requestId, value).get();
    } catch (ExecutionException e) {
      throw new IOException("order " + outTradeNo + ": not asked again: " + e.getCause().getMessage(), e.getCause());
    }
  }
}
