package shop;

import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.kafka.CloudEventSerializer;
import java.net.URI;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** Publishes close requests as CloudEvents in binary mode. Safe for concurrent use. */
final class Publisher implements AutoCloseable {
  static final String TOPIC = "closeorder.requests";

  private final KafkaProducer<String, CloudEvent> producer;

  Publisher(String brokers) {
    producer =
        new KafkaProducer<>(
            Map.of(
                ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers,
                ProducerConfig.CLIENT_ID_CONFIG, "closeorder-example-java",
                // A request that one broker alone has taken is lost with it.
                ProducerConfig.ACKS_CONFIG, "all",
                // A try again after a lost answer writes nothing twice, and keeps the order.
                ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true,
                // A stop and a person wait no longer than this for brokers that do not answer.
                ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 30_000,
                ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, 10_000,
                ProducerConfig.MAX_BLOCK_MS_CONFIG, 30_000L,
                // No partitioner is set: Java's own is the murmur2 that all producers of requests should share.
                ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class,
                // Binary mode is its default: the value is the request, the attributes are headers.
                ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, CloudEventSerializer.class));
  }

  /**
   * Publishes one request, value, about the order outTradeNo. It is published when the future says so, and
   * not before: write nothing down as asked for until then. requestId may be empty: then the id of the event
   * names the request.
   */
  Future<RecordMetadata> publish(String outTradeNo, String requestId, byte[] value) {
    CloudEvent event =
        CloudEventBuilder.v1()
            .withId(requestId.isEmpty() ? UUID.randomUUID().toString() : requestId)
            .withSource(URI.create("/examples/java"))
            .withType("closeorder.requested")
            .withSubject(outTradeNo)
            // When the request was made. The SDK writes seconds also where they are zero; OffsetDateTime.toString does not.
            .withTime(OffsetDateTime.now(ZoneOffset.UTC).truncatedTo(ChronoUnit.MILLIS))
            .withData("application/json", value)
            .build();
    // The key is the bare number, without quotes: requests of one order stay in one partition, in their order.
    return producer.send(new ProducerRecord<>(TOPIC, outTradeNo, event));
  }

  /** Waits for what is on its way, and closes. */
  @Override
  public void close() {
    producer.close();
  }
}
