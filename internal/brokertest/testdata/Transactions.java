import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Publishes requests in ROUNDS transactions of EACH, as an order service in
 * Java does. Every second one is aborted when all of it is written. The orders
 * are PREFIX-kept-ROUND-I and PREFIX-aborted-ROUND-I.
 *
 *   Transactions BOOTSTRAP TOPIC PREFIX ROUNDS EACH
 */
public class Transactions {
    public static void main(String[] args) throws Exception {
        String prefix = args[2];
        int rounds = Integer.parseInt(args[3]), each = Integer.parseInt(args[4]);
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("transactional.id", args[1] + "-" + prefix);
        p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            producer.initTransactions();
            for (int round = 0; round < rounds; round++) {
                boolean kept = round % 2 == 0;
                producer.beginTransaction();
                for (int i = 0; i < each; i++) {
                    String order = prefix + (kept ? "-kept-" : "-aborted-") + round + "-" + i;
                    String value = "{\"mch_id\":\"1900000109\",\"out_trade_no\":\"" + order + "\"}";
                    producer.send(new ProducerRecord<>(args[1], order.getBytes(StandardCharsets.UTF_8), value.getBytes(StandardCharsets.UTF_8)));
                }
                producer.flush();
                if (kept) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
    }
}
