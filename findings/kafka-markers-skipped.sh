#!/usr/bin/env bash
# Expected: when commitTransaction() has returned, all that the transaction wrote becomes committed; where a partition's broker is
#   down, when it is back. So it was in Apache Kafka 4.2.1.
# Happens: a partition that has no leader at the moment (its only replica is stopped) is taken for a deleted one:
#   the coordinator skips its marker and calls the transaction complete. The marker never comes. The transaction stays open in that
#   partition, though the coordinator says CompleteCommit: read_committed readers stand still there, and a group whose offsets were
#   in the transaction gets no offset. What ends it, Admin.abortTransaction (kafka-transactions.sh abort), aborts what was committed.
# Versions: Apache Kafka 4.3.1, beside 4.2.1 (broker and kafka-clients of each).
# Seen (brokers a and b; topic on-a is on a, on-b and the group's offsets are on b, which is stopped with SIGTERM before the commit):
#   Apache Kafka 4.2.1
#     commitTransaction while b is down: returns
#     the transaction while b is down: PrepareCommit
#     the transaction when b is back: CompleteCommit
#     open transactions on on-a, on on-b: 0, 0
#     records of on-a, read committed: 1
#     records of on-b, read uncommitted: 1
#     records of on-b, read committed: 1
#     the group's offset: 7
#     open transactions on on-b after those were aborted: 0
#     records of on-b, read committed: 1
#   Apache Kafka 4.3.1
#     commitTransaction while b is down: returns
#     the transaction while b is down: CompleteCommit
#     the transaction when b is back: CompleteCommit
#     open transactions on on-a, on on-b: 0, 1
#     records of on-a, read committed: 1
#     records of on-b, read uncommitted: 1
#     records of on-b, read committed: 0
#     the group's offset: no answer in 10 s
#     open transactions on on-b after those were aborted: 0
#     records of on-b, read committed: 0
# Why it matters: half of a transaction is there, the other half is not, and the producer was told that all is. A restart of one
#   broker does it where a partition has one replica. Look with kafka-transactions.sh find-hanging after such a restart. Before the
#   abort, copy what is open: a read_uncommitted reader still gets it.
# Sources: KAFKA-20734 (Apache Kafka, pull request 22680: KRaftMetadataCache.getPartitionLeaderEndpoint returns empty where it
#   returned noNode, since it was moved to Java); TransactionMarkerChannelManager.addTxnMarkersToBrokerQueue, for which empty is
#   "likely deleted already and hence can be skipped"; KIP-664 (hanging transactions).
set -euo pipefail
dir=$(mktemp -d)
show_pid=
trap 'test -z "$show_pid" || { kill "$show_pid"; wait "$show_pid" || true; } 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
cd "$dir"
cat >Show.java <<'JAVA'
import java.io.File;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.*;

/** A cluster of two brokers: a (with the controller) and b. All that the transaction needs of the cluster is on a, but for on-b and the group's offsets. */
public class Show {
  static final TopicPartition ON_A = new TopicPartition("on-a", 0), ON_B = new TopicPartition("on-b", 0);
  static final List<Process> RUNNING = Collections.synchronizedList(new ArrayList<>());
  static String a;
  static Admin admin;

  static Process java(String log, String... args) throws Exception {
    List<String> command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", "-Xmx256m", "-cp", System.getProperty("java.class.path")));
    command.addAll(List.of(args));
    Process p = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(new File(log))).start();
    RUNNING.add(p);
    return p;
  }

  static void format(String name, String roles, int id, String listeners, String controller, String how) throws Exception {
    Files.writeString(Path.of(name + ".properties"), String.join("\n",
        "node.id=" + id, "process.roles=" + roles, "listeners=" + listeners,
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT", "controller.listener.names=CONTROLLER",
        "controller.quorum.bootstrap.servers=" + controller, "log.dirs=" + Path.of(name + "-data").toAbsolutePath(),
        "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=1",
        "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0",
        "log.cleaner.dedupe.buffer.size=4194304", ""));
    if (java(name + "-format.log", "kafka.tools.StorageTool", "format", "-t", "ZmluZGluZ3Mtb2YtYS1kYQ", how, "-c", name + ".properties").waitFor() != 0)
      throw new IllegalStateException("format of " + name);
  }

  static Process start(String name) throws Exception { return java(name + ".log", "kafka.Kafka", name + ".properties"); }

  interface Check { boolean ok() throws Exception; }

  static boolean within(int seconds, Check check) throws Exception {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    do {
      try { if (check.ok()) return true; } catch (java.util.concurrent.ExecutionException | TimeoutException e) { /* not yet */ }
      Thread.sleep(250);
    } while (System.nanoTime() < end);
    return false;
  }

  static void must(String what, int seconds, Check check) throws Exception {
    if (!within(seconds, check)) throw new IllegalStateException("not within " + seconds + " s: " + what);
  }

  static boolean hasLeader(TopicPartition p) throws Exception {
    Node leader = admin.describeTopics(List.of(p.topic())).allTopicNames().get().get(p.topic()).partitions().get(0).leader();
    return leader != null && !leader.isEmpty();
  }

  static String state() throws Exception {
    return admin.describeTransactions(List.of("x")).description("x").get().state().toString();
  }

  static int open(TopicPartition p) throws Exception {
    int n = 0;
    for (ProducerState s : admin.describeProducers(List.of(p)).partitionResult(p).get().activeProducers())
      if (s.currentTransactionStartOffset().isPresent()) n++;
    return n;
  }

  static int read(TopicPartition p, String isolation, int seconds) {
    int n = 0;
    try (KafkaConsumer<String, String> c = new KafkaConsumer<>(
        Map.of("bootstrap.servers", a, "isolation.level", isolation, "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
      c.assign(List.of(p));
      long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
      while (n == 0 && System.nanoTime() < end) n += c.poll(Duration.ofMillis(500)).count();
    }
    return n;
  }

  /** What a member of the group would begin at. */
  static String offset(int seconds) {
    try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", a, "group.id", "g"), new StringDeserializer(), new StringDeserializer())) {
      OffsetAndMetadata o = c.committed(Set.of(ON_A), Duration.ofSeconds(seconds)).get(ON_A);
      return o == null ? "none" : "" + o.offset();
    } catch (TimeoutException e) {
      return "no answer in " + seconds + " s";
    }
  }

  static void tell(String what, Object seen) { System.out.println("  " + what + ": " + seen); }

  public static void main(String[] args) throws Exception {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      for (Process p : List.copyOf(RUNNING)) p.destroyForcibly();
      for (Process p : List.copyOf(RUNNING)) try { p.waitFor(); } catch (InterruptedException e) { return; }
    }));
    try { show(args); } catch (Throwable t) { t.printStackTrace(); System.exit(1); }
    System.exit(0);
  }

  @SuppressWarnings("removal") // a group's metadata by its name alone
  static void show(String[] args) throws Exception {
    a = "127.0.0.1:" + args[0];
    String b = "127.0.0.1:" + args[1], controller = "127.0.0.1:" + args[2];
    format("a", "broker,controller", 1, "PLAINTEXT://" + a + ",CONTROLLER://" + controller, controller, "--standalone");
    format("b", "broker", 2, "PLAINTEXT://" + b, controller, "--no-initial-controllers");
    start("a");
    admin = Admin.create(Map.of("bootstrap.servers", a));
    Process broker = start("b");
    must("two brokers", 60, () -> admin.describeCluster().nodes().get().size() == 2);
    admin.createTopics(List.of(
        new NewTopic("__transaction_state", Map.of(0, List.of(1))).configs(Map.of("cleanup.policy", "compact")),
        new NewTopic("__consumer_offsets", Map.of(0, List.of(2))).configs(Map.of("cleanup.policy", "compact")),
        new NewTopic("on-a", Map.of(0, List.of(1))), new NewTopic("on-b", Map.of(0, List.of(2))))).all().get();

    KafkaProducer<String, String> p = new KafkaProducer<>(
        Map.of("bootstrap.servers", a, "transactional.id", "x", "transaction.timeout.ms", 30000), new StringSerializer(), new StringSerializer());
    p.initTransactions();
    p.beginTransaction();
    p.send(new ProducerRecord<>("on-a", "one")).get();
    p.send(new ProducerRecord<>("on-b", "two")).get();
    p.sendOffsetsToTransaction(Map.of(ON_A, new OffsetAndMetadata(7)), new ConsumerGroupMetadata("g"));

    broker.destroy(); // SIGTERM
    broker.waitFor();
    must("no leader of on-b", 30, () -> !hasLeader(ON_B));
    p.commitTransaction();
    tell("commitTransaction while b is down", "returns");
    within(10, () -> state().equals("CompleteCommit"));
    tell("the transaction while b is down", state());
    start("b");
    must("a leader of on-b", 60, () -> hasLeader(ON_B) && open(ON_B) >= 0);
    within(40, () -> open(ON_B) == 0 && state().equals("CompleteCommit")); // longer than transaction.timeout.ms
    tell("the transaction when b is back", state());
    tell("open transactions on on-a, on on-b", open(ON_A) + ", " + open(ON_B));
    tell("records of on-a, read committed", read(ON_A, "read_committed", 10));
    tell("records of on-b, read uncommitted", read(ON_B, "read_uncommitted", 10));
    tell("records of on-b, read committed", read(ON_B, "read_committed", 10));
    tell("the group's offset", offset(10));
    for (ProducerState s : admin.describeProducers(List.of(ON_B)).partitionResult(ON_B).get().activeProducers())
      if (s.currentTransactionStartOffset().isPresent()) // as kafka-transactions.sh abort does
        admin.abortTransaction(new AbortTransactionSpec(ON_B, s.producerId(), (short) s.producerEpoch(), s.coordinatorEpoch().orElse(0))).all().get();
    tell("open transactions on on-b after those were aborted", open(ON_B));
    tell("records of on-b, read committed", read(ON_B, "read_committed", 10));
  }
}
JAVA
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
for version in 4.2.1 4.3.1; do
	mkdir "$version"
	cat >"$version/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
</dependencies></project>
XML
	(cd "$version" && mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib) >/dev/null
	(cd "$version" && javac -d . -cp 'lib/*' ../Show.java)
	echo "Apache Kafka $version" >>seen
	(cd "$version" && exec java -Xmx128m -cp '.:lib/*' Show "$(port)" "$(port)" "$(port)" 2>err >>../seen) &
	show_pid=$!
	wait "$show_pid" || { show_pid=; cat "$version/err" seen; exit 1; }
	show_pid=
done
cat >want <<'WANT'
Apache Kafka 4.2.1
  commitTransaction while b is down: returns
  the transaction while b is down: PrepareCommit
  the transaction when b is back: CompleteCommit
  open transactions on on-a, on on-b: 0, 0
  records of on-a, read committed: 1
  records of on-b, read uncommitted: 1
  records of on-b, read committed: 1
  the group's offset: 7
  open transactions on on-b after those were aborted: 0
  records of on-b, read committed: 1
Apache Kafka 4.3.1
  commitTransaction while b is down: returns
  the transaction while b is down: CompleteCommit
  the transaction when b is back: CompleteCommit
  open transactions on on-a, on on-b: 0, 1
  records of on-a, read committed: 1
  records of on-b, read uncommitted: 1
  records of on-b, read committed: 0
  the group's offset: no answer in 10 s
  open transactions on on-b after those were aborted: 0
  records of on-b, read committed: 0
WANT
echo "versions: Apache Kafka 4.2.1 and 4.3.1, $(java -version 2>&1 | head -1)"
echo "expected: the same twice"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
