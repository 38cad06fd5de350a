#!/usr/bin/env bash
# Expected: a group of consumers that read two topics with as many partitions each, and join them by key, keeps partition n of both
#   with one member, whatever protocol the group is run by: the default of Java's consumer does (RangeAssignor).
# Happens: with group.protocol=consumer (KIP-848) the coordinator deals, and its default is uniform, which looks at no numbers:
#   of two members one gets all of the first topic, the other all of the second. One member that comes with the new protocol is
#   enough: it turns the whole group over, the classic members too, and nobody gets an error or a warning.
# Versions: Apache Kafka 4.3.1 (kafka-clients, kafka-group-coordinator; its own assignors, without a broker).
# Seen:
#   a classic leader, range: 0 of 6 numbers are with two members
#   the coordinator, uniform: 6 of 6 numbers are with two members
#   the coordinator, range: 0 of 6 numbers are with two members
#   the default of the broker: uniform
# Why it matters: whoever relies on it (joins, a topic of retries beside its requests, local state by partition) finds two members
#   at one key. Set group.remote.assignor=range, or group.consumer.assignors=range,uniform at the brokers, and keep other clients
#   out of the group: range deals alike only what all members subscribe to.
# Sources: KIP-848 (server side assignors: range "co-partitions", uniform "evenly"); KIP-848, "Consumer Group Upgrade"; the broker's
#   setting group.consumer.assignors, default "uniform,range".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-group-coordinator</artifactId><version>4.3.1</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>4.3.1</version></dependency>
</dependencies></project>
EOF
cat >Deal.java <<'EOF'
import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.*;
import org.apache.kafka.coordinator.group.api.assignor.*;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;

public class Deal {
  static final int PARTITIONS = 6;
  static final String[] TOPICS = {"requests", "retries"};

  /** Two members that have nothing yet and subscribe to both topics. */
  record Spec(Map<String, Uuid> ids) implements GroupSpec {
    public Collection<String> memberIds() { return new TreeSet<>(List.of("a", "b")); }
    public SubscriptionType subscriptionType() { return SubscriptionType.HOMOGENEOUS; }
    public boolean isPartitionAssigned(Uuid topic, int partition) { return false; }
    public boolean isPartitionAssignable(Uuid topic, int partition) { return true; }
    public MemberAssignment memberAssignment(String member) { return Collections::emptyMap; }
    public MemberSubscription memberSubscription(String member) {
      return new MemberSubscription() {
        public Optional<String> rackId() { return Optional.empty(); }
        public Optional<String> instanceId() { return Optional.empty(); }
        public Set<Uuid> subscribedTopicIds() { return new LinkedHashSet<>(ids.values()); }
      };
    }
  }

  /** Numbers of which one topic's partition is with another member than the other's. */
  static void tell(String who, Map<String, Map<String, Set<Integer>>> dealt) {
    int apart = 0;
    for (Map<String, Set<Integer>> topics : dealt.values())
      for (int n : topics.getOrDefault("requests", Set.of()))
        if (!topics.getOrDefault("retries", Set.of()).contains(n)) apart++;
    System.out.println(who + ": " + apart + " of " + PARTITIONS + " numbers are with two members");
  }

  static void server(ConsumerGroupPartitionAssignor assignor) {
    Map<String, Uuid> ids = new TreeMap<>();
    long n = 1;
    for (String topic : TOPICS) ids.put(topic, new Uuid(0, n++));
    Map<String, Map<String, Set<Integer>>> dealt = new TreeMap<>();
    GroupAssignment all = assignor.assign(new Spec(ids), new SubscribedTopicDescriber() {
      public int numPartitions(Uuid topic) { return PARTITIONS; }
      public Set<String> racksForPartition(Uuid topic, int partition) { return Set.of(); }
    });
    all.members().forEach((member, a) -> {
      Map<String, Set<Integer>> topics = new TreeMap<>();
      ids.forEach((name, id) -> topics.put(name, new TreeSet<>(a.partitions().getOrDefault(id, Set.of()))));
      dealt.put(member, topics);
    });
    tell("the coordinator, " + assignor.name(), dealt);
  }

  public static void main(String[] args) {
    List<PartitionInfo> partitions = new ArrayList<>();
    for (String topic : TOPICS)
      for (int p = 0; p < PARTITIONS; p++) partitions.add(new PartitionInfo(topic, p, Node.noNode(), new Node[0], new Node[0]));
    Map<String, Subscription> members = new TreeMap<>();
    for (String member : List.of("a", "b")) members.put(member, new Subscription(List.of(TOPICS)));
    RangeAssignor classic = new RangeAssignor();
    Map<String, Map<String, Set<Integer>>> dealt = new TreeMap<>();
    classic.assign(new Cluster("c", List.of(), partitions, Set.of(), Set.of()), new GroupSubscription(members)).groupAssignment()
        .forEach((member, a) -> {
          Map<String, Set<Integer>> topics = new TreeMap<>();
          for (TopicPartition p : a.partitions()) topics.computeIfAbsent(p.topic(), t -> new TreeSet<>()).add(p.partition());
          dealt.put(member, topics);
        });
    tell("a classic leader, " + classic.name(), dealt);
    server(new UniformAssignor());
    server(new org.apache.kafka.coordinator.group.assignor.RangeAssignor());
    System.out.println("the default of the broker: " + new org.apache.kafka.coordinator.group.GroupCoordinatorConfig(
        new org.apache.kafka.common.config.AbstractConfig(org.apache.kafka.coordinator.group.GroupCoordinatorConfig.CONFIG_DEF, Map.of(), false))
        .consumerGroupAssignors().get(0).name());
  }
}
EOF
mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib >/dev/null
javac -cp 'lib/*' Deal.java
java -cp '.:lib/*' Deal 2>err >seen || { cat err; exit 1; }
cat >want <<'EOF'
a classic leader, range: 0 of 6 numbers are with two members
the coordinator, uniform: 6 of 6 numbers are with two members
the coordinator, range: 0 of 6 numbers are with two members
the default of the broker: uniform
EOF
echo "versions: $(java -version 2>&1 | head -1), Apache Kafka 4.3.1"
echo "expected: 0 of 6 three times"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
