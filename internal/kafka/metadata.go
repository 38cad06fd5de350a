package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// MissingTopicsError says that the cluster was asked and has no such topics.
type MissingTopicsError struct{ Topics []string }

func (e *MissingTopicsError) Error() string {
	if len(e.Topics) == 1 {
		return fmt.Sprintf("topic %s does not exist; create it with: closeorder topics create", e.Topics[0])
	}
	return fmt.Sprintf("topics %s do not exist; create them with: closeorder topics create", strings.Join(e.Topics, ", "))
}

// Partitions returns how many partitions each topic has, at least 1: their
// numbers are 0 up to that. The answer is at most metadataTTL old, unless no
// broker answers, or none within refreshPatience: then it is the last one that
// there was. Topics that do not exist are one *MissingTopicsError, in the order
// of topics; not every broker knows at once of one that was just made. Brokers that
// may run with a ZooKeeper are asked again for absentFor before that is said.
func (c *Client) Partitions(ctx context.Context, topics ...string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	counts, err := c.partitions(ctx, topics)
	for begun := time.Now(); time.Since(begun) < absentFor; {
		if _, missing := errors.AsType[*MissingTopicsError](err); !missing || !c.transport.oldest().Before(withoutZooKeeper) || Sleep(ctx, absentFor/8) != nil {
			break
		}
		c.transport.doubt()
		counts, err = c.partitions(ctx, topics)
	}
	return counts, err
}

// absentFor is for how long a broker with a ZooKeeper must say that there is no
// topic: one that has just started knows no topic at all before its controller tells
// it (seen for 150 ms on 2.8.2 on a busy machine). Who reads "create it" then is told
// what is wrong.
const absentFor = 2 * time.Second

// withoutZooKeeper is the first release that can only run without (KIP-833).
var withoutZooKeeper = Release{4, 0}

func (c *Client) partitions(ctx context.Context, topics []string) (map[string]int, error) {
	meta, err := c.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: topics})
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(topics))
	var missing, hidden []string
	for _, t := range meta.Topics { // one for each that was asked for, known or not
		switch {
		case errors.Is(t.Error, UnknownTopic):
			missing = append(missing, t.Name)
		case errors.Is(t.Error, kafkago.TopicAuthorizationFailed):
			hidden = append(hidden, t.Name)
		case t.Error != nil:
			return nil, fmt.Errorf("metadata of topic %s: %w", t.Name, t.Error)
		case len(t.Partitions) == 0:
			return nil, fmt.Errorf("metadata of topic %s names no partition", t.Name)
		default:
			counts[t.Name] = len(t.Partitions)
		}
	}
	if hidden != nil {
		return nil, unauthorized("Metadata", hidden)
	}
	if missing != nil {
		return nil, &MissingTopicsError{Topics: missing}
	}
	return counts, nil
}

// unauthorized says that a request may not be made about any of the topics.
func unauthorized(operation string, topics []string) error {
	resource := "topic "
	if len(topics) > 1 {
		resource = "topics "
	}
	return Explain(kafkago.TopicAuthorizationFailed, operation, resource+strings.Join(topics, ", "))
}
