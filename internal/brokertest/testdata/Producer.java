import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Publishes requests as an order service in Java does, with each of the codecs:
 * COUNT of them idempotent, in one large batch for each partition, then as many
 * in each of two transactions, the second of which is aborted.
 *
 *   Producer BOOTSTRAP TOPIC COUNT CODEC...
 */
public class Producer {
    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[2]);
        for (int i = 3; i < args.length; i++) {
            String codec = args[i];
            Properties p = new Properties();
            p.put("bootstrap.servers", args[0]);
            p.put("compression.type", codec);
            p.put("batch.size", "1000000");
            p.put("max.request.size", "1048576");
            p.put("linger.ms", "60000"); // a flush sends what there is
            p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
            p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
                send(producer, args[1], codec + "-plain-", count);
            }
            p.put("transactional.id", args[1] + "-" + codec);
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
                producer.initTransactions();
                producer.beginTransaction();
                send(producer, args[1], codec + "-committed-", count);
                producer.commitTransaction();
                producer.beginTransaction();
                send(producer, args[1], codec + "-aborted-", count);
                producer.abortTransaction();
            }
        }
    }

    static void send(KafkaProducer<byte[], byte[]> producer, String topic, String prefix, int count) {
        for (int i = 0; i < count; i++) {
            byte[] key = (prefix + i).getBytes(StandardCharsets.UTF_8);
            String value = "{\"mch_id\":\"1900000109\",\"out_trade_no\":\"" + prefix + i + "\",\"reason\":\"payment_timeout\"}";
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, key, value.getBytes(StandardCharsets.UTF_8));
            record.headers().add("source", "java".getBytes(StandardCharsets.UTF_8));
            producer.send(record);
        }
        producer.flush();
    }
}
