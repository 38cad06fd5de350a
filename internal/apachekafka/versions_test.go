package apachekafka

import (
	"slices"
	"strings"
	"testing"
)

func TestVersionsAreInTheirOrderAndThePinnedOneIsTheNewest(t *testing.T) {
	all, err := Versions()
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := findDescriptor("")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 2 || all[0] != "0.11.0.3" || all[len(all)-1] != pinned.version {
		t.Errorf("versions are %q, the pinned one is %s", all, pinned.version)
	}
	for _, version := range all {
		d, err := findDescriptor(version)
		if err != nil {
			t.Error(err)
			continue
		}
		if d.version != version || !strings.Contains(d.cache, "apache-kafka-"+version+"-") {
			t.Errorf("%s is fetched as %s into %s", version, d.version, d.cache)
		}
	}
}

func TestAVersionThatIsNotThereIsNamedBesideThoseThatAre(t *testing.T) {
	_, err := Start(t.Context(), Config{Version: "2.0.0"})
	if err == nil || !strings.Contains(err.Error(), `"2.0.0"`) || !strings.Contains(err.Error(), "0.11.0.3, 1.1.1") {
		t.Error(err)
	}
}

func TestToolsAreCalledByTheNamesOfTheirVersion(t *testing.T) {
	args := []string{"--topic", "t", "--group", "g", "--command-property", "a=b", "--formatter-property", "c=d"}
	for name, tt := range map[string]struct {
		version release
		class   string
		args    string
	}{
		"as they are":         {release{4, 3}, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic t --group g --command-property a=b --formatter-property c=d"},
		"with other options":  {release{4, 1}, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic t --group g --consumer-property a=b --property c=d"},
		"moved to their room": {release{3, 9}, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic t --group g --consumer-property a=b --property c=d"},
		"in Scala":            {release{2, 8}, "kafka.tools.ConsoleConsumer", "--topic t --group g --consumer-property a=b --property c=d"},
		"a group as property": {release{0, 11}, "kafka.tools.ConsoleConsumer", "--topic t --consumer-property group.id=g --consumer-property a=b --property c=d"},
	} {
		class, got := tt.version.tool(ConsoleConsumer, slices.Clone(args))
		if class != tt.class || strings.Join(got, " ") != tt.args {
			t.Errorf("%s: %s %q", name, class, got)
		}
	}
}
