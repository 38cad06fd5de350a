package apachekafka

import "context"

// Classes of the console tools, for [Cluster.Tool]. Each wants
// "--bootstrap-server" with [Cluster.Bootstrap].
const (
	ConsoleConsumer      = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	ConsumerGroupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
)

// Tool runs a Java console tool to its end and returns what it wrote to stdout;
// with an error too, as far as it came. A start
// takes about a second. The tools are a client that shares no code with ours: a
// ConsoleConsumer with --group is a foreign member of a consumer group for as
// long as ctx lasts. When ctx ends the tool gets SIGTERM, so that such a member
// leaves its group, and SIGKILL when that does not end it.
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) (stdout string, err error) {
	return c.java.run(ctx, class, args...)
}
