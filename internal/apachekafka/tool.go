package apachekafka

import (
	"cmp"
	"context"
	"slices"
)

// Classes of the console tools, for [Cluster.Tool]. Each wants
// "--bootstrap-server" with [Cluster.Bootstrap].
const (
	ConsoleConsumer      = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	ConsumerGroupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
)

// formerly are the names that the classes had before Apache Kafka 3.8 and 4.0,
// and first says since when they have those above.
var formerly = map[string]struct {
	first release
	class string
}{
	ConsoleConsumer:      {release{3, 9}, "kafka.tools.ConsoleConsumer"},
	ConsumerGroupCommand: {release{3, 8}, "kafka.admin.ConsumerGroupCommand"},
}

// formerArgs are options of the tools under the names that Apache Kafka 4.2 gave
// them, and what they were called before.
var formerArgs = map[string]string{"--command-property": "--consumer-property", "--formatter-property": "--property"}

// Tool runs a Java console tool to its end and returns what it wrote to stdout;
// with an error too, as far as it came. A start
// takes about a second. The tools are a client that shares no code with ours: a
// ConsoleConsumer with --group is a foreign member of a consumer group for as
// long as ctx lasts. When ctx ends the tool gets SIGTERM, so that such a member
// leaves its group, and SIGKILL when that does not end it. Classes and options are
// named as Apache Kafka 4.2 names them, whatever the version is.
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) (stdout string, err error) {
	class, args = c.java.version.tool(class, args)
	return c.java.run(ctx, class, args...)
}

// tool names a console tool and its options as the version does.
func (r release) tool(class string, args []string) (string, []string) {
	if was, renamed := formerly[class]; renamed && r.before(was.first) {
		class = was.class
	}
	if !r.before(release{4, 2}) {
		return class, args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		args[i] = cmp.Or(formerArgs[arg], arg)
		if arg == "--group" && i+1 < len(args) && class == formerly[ConsoleConsumer].class && r.before(release{1, 1}) {
			args[i], args[i+1] = "--consumer-property", "group.id="+args[i+1]
		}
	}
	return class, args
}
