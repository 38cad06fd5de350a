#!/usr/bin/env bash
# Expected: a ZonedDateTime is one instant, and the JSON of it says which.
# Happens: fastjson2 writes the wall clock and the zone's name and leaves the offset out: 2026-11-01T01:30:00[America/New_York].
#   In the hour that comes twice at the end of summer time two instants, an hour apart, are written the same, and the second is
#   read back as the first. Jackson's form of the same value (offset, then the zone in brackets) keeps them apart. Neither RFC 3339
#   nor RFC 9557 lets the offset be left out.
# Versions: fastjson2 2.0.64 (Maven), jackson-datatype-jsr310 2.19.2 (Maven).
# Seen:
#   05:30 UTC  fastjson2 2026-11-01T01:30:00[America/New_York], read back as 05:30 UTC
#   06:30 UTC  fastjson2 2026-11-01T01:30:00[America/New_York], read back as 05:30 UTC
#   05:30 UTC  jackson   2026-11-01T01:30:00-04:00[America/New_York], read back as 05:30 UTC
#   06:30 UTC  jackson   2026-11-01T01:30:00-05:00[America/New_York], read back as 06:30 UTC
# Why it matters: an order time that is an hour early makes an order look old enough to be settled. In a zone without summer time
#   (Asia/Shanghai) nothing is lost, so that no test there shows it. A reader refuses what has no offset and does not ask the
#   zone's name; a producer sends an Instant or an OffsetDateTime, which fastjson2 writes with Z or an offset.
# Sources: RFC 3339 section 5.6; RFC 9557 section 4.1 (the bracket follows a date-time with an offset);
#   github.com/alibaba/fastjson2/issues/933 (the form, and a Jackson that cannot read it).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >pom.xml <<'EOF'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>com.alibaba.fastjson2</groupId><artifactId>fastjson2</artifactId><version>2.0.64</version></dependency>
<dependency><groupId>com.fasterxml.jackson.datatype</groupId><artifactId>jackson-datatype-jsr310</artifactId><version>2.19.2</version></dependency>
</dependencies></project>
EOF
cat >Zoned.java <<'EOF'
import com.alibaba.fastjson2.JSON;
import com.fasterxml.jackson.databind.*;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import java.time.*;

public class Zoned {
  public static class Order { public ZonedDateTime created; }

  static void say(Instant t, String library, String json, Order back) {
    System.out.printf("%s UTC  %-9s %s, read back as %s UTC%n", t.toString().substring(11, 16), library,
        json.split("\"")[3], back.created.toInstant().toString().substring(11, 16));
  }

  public static void main(String[] args) throws Exception {
    ObjectMapper jackson = new ObjectMapper().registerModule(new JavaTimeModule())
        .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS).enable(SerializationFeature.WRITE_DATES_WITH_ZONE_ID)
        .disable(DeserializationFeature.ADJUST_DATES_TO_CONTEXT_TIME_ZONE);
    Instant[] twice = {Instant.parse("2026-11-01T05:30:00Z"), Instant.parse("2026-11-01T06:30:00Z")};
    for (String library : new String[] {"fastjson2", "jackson"}) {
      for (Instant t : twice) {
        Order order = new Order();
        order.created = t.atZone(ZoneId.of("America/New_York"));
        if (library.equals("jackson")) {
          String json = jackson.writeValueAsString(order);
          say(t, library, json, jackson.readValue(json, Order.class));
        } else {
          String json = JSON.toJSONString(order);
          say(t, library, json, JSON.parseObject(json, Order.class));
        }
      }
    }
  }
}
EOF
mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=lib >/dev/null
javac -cp 'lib/*' Zoned.java
java -cp '.:lib/*' Zoned >seen
cat >want <<'EOF'
05:30 UTC  fastjson2 2026-11-01T01:30:00[America/New_York], read back as 05:30 UTC
06:30 UTC  fastjson2 2026-11-01T01:30:00[America/New_York], read back as 05:30 UTC
05:30 UTC  jackson   2026-11-01T01:30:00-04:00[America/New_York], read back as 05:30 UTC
06:30 UTC  jackson   2026-11-01T01:30:00-05:00[America/New_York], read back as 06:30 UTC
EOF
echo "versions: fastjson2 2.0.64, jackson-datatype-jsr310 2.19.2 (Maven)"
echo "expected: each time is read back as it was written"
echo "seen:"
cat seen
diff want seen >/dev/null || { echo "not what was written down: the behaviour has changed"; exit 1; }
