package shop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The rule against the rows that closeorder's own is held to. */
class PrecedenceTest {
  @TestFactory
  List<DynamicTest> rows() {
    JsonNode rows = JsonMapper.shared().readTree(Path.of("../../testdata/events/precedence.json").toFile());
    assertFalse(rows.isEmpty(), "no rows");
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode row : rows) {
      tests.add(
          dynamicTest(
              row.get("name").stringValue(),
              () ->
                  assertEquals(
                      row.get("supersedes").booleanValue(),
                      Precedence.supersedes(
                          Outcome.of(row.get("current_id").stringValue(), row.get("current")),
                          Outcome.of(row.get("next_id").stringValue(), row.get("next"))))));
    }
    return tests;
  }
}
