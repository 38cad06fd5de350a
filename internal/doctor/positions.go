package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/closeorder/closeorder/internal/kafka"
)

// CheckPosition is where the group stands in what it reads.
const CheckPosition = "position"

// span is a partition: its first offset, its end, and what the group has committed
// (-1 for nothing).
type span struct {
	partition          int
	start, end, stands int64
}

// positions compares what the group has committed with the logs.
func (p *patient) positions(ctx context.Context) (found []Finding) {
	spans, err := p.spans(ctx)
	if err != nil {
		return []Finding{unseen(ctx, CheckPosition, "group "+p.cfg.Kafka.Group, err)}
	}
	return aboutPositions(p.cfg.Topics.All(), p.cfg.Kafka.Start, spans)
}

// spans asks for the partitions of requests and retries, by topic.
func (p *patient) spans(ctx context.Context) (map[string][]span, error) {
	names := p.cfg.Topics
	partitions := make(map[string][]int)
	for _, topic := range append([]string{names.Requests}, names.Retries()...) {
		t := p.layout.Topics[topic] // what is not there says the check of topics
		for id := range t.Partitions {
			if !slices.Contains(t.Leaderless, id) {
				partitions[topic] = append(partitions[topic], id)
			}
		}
	}
	if len(partitions) == 0 {
		return nil, nil
	}
	committed, err := p.client.Committed(ctx, p.cfg.Kafka.Group, partitions)
	// Where a transaction is under way something is committed.
	unsure := make(map[kafka.Place]bool)
	if unstable, is := errors.AsType[*kafka.UnstableError](err); is {
		for _, at := range unstable.Places {
			unsure[at] = true
		}
	} else if err != nil {
		return nil, err
	}
	starts, err := p.client.Offsets(ctx, partitions, kafka.LogStart)
	if err != nil {
		return nil, err
	}
	ends, err := p.client.Offsets(ctx, partitions, kafka.LogEnd)
	if err != nil {
		return nil, err
	}
	spans := make(map[string][]span)
	for topic, ids := range partitions {
		for _, id := range ids {
			s := span{id, starts[topic][id], ends[topic][id], -1}
			if at, is := committed[topic][id]; is {
				s.stands = at.Offset
			}
			if !unsure[kafka.Place{Topic: topic, Partition: id}] {
				spans[topic] = append(spans[topic], s)
			}
		}
	}
	return spans, nil
}

// aboutPositions judges them, topic by topic.
func aboutPositions(topics []string, start string, spans map[string][]span) (found []Finding) {
	var open int64
	healthy := 0
	for _, topic := range topics {
		var unread, beyond, without []string
		var lost, left int64
		for _, s := range spans[topic] {
			switch {
			case s.stands < 0:
				if s.end > s.start {
					without = append(without, strconv.Itoa(s.partition))
					left += s.end - s.start
				}
			case s.stands > s.end:
				beyond = append(beyond, fmt.Sprintf("%d (at %d, the log ends at %d)", s.partition, s.stands, s.end))
			case s.stands < s.start:
				unread = append(unread, fmt.Sprintf("%d (at %d, the log begins at %d)", s.partition, s.stands, s.start))
				lost += s.start - s.stands
				open += s.end - s.start
			default:
				healthy++
				open += s.end - s.stands
			}
		}
		if beyond != nil {
			found = append(found, Finding{Danger, CheckPosition, topic, "the group stands beyond the end of partitions " + some(beyond) + ": they stop, as the log was cut or the topic made again",
				"see docs/operations.md, when a partition stops, before anything is reset: kafka-consumer-groups.sh --reset-offsets"})
		}
		if unread != nil {
			found = append(found, Finding{Warning, CheckPosition, topic, fmt.Sprintf("%s deleted before the group had read them, in partitions %s", count(int(lost), "offset"), some(unread)),
				"closeorder audit shows which requests are lost; raise retention.ms of the topic"})
		}
		if without != nil {
			f := Finding{Note, CheckPosition, topic, fmt.Sprintf("the group has no position in partitions %s, which hold %s", some(without), count(int(left), "offset")), ""}
			switch start {
			case "latest":
				f.Severity, f.Remedy = Danger, "set kafka.start to earliest, unless these requests may be left out"
				f.Evidence += ": with kafka.start latest they are never served"
			case "error":
				f.Severity, f.Remedy = Warning, "set kafka.start to earliest, or commit a position"
				f.Evidence += ": with kafka.start error a worker ends"
			default:
				f.Evidence += ": they are served from the beginning"
				f.Remedy = "nothing, if the group is new; closing again is safe"
			}
			found = append(found, f)
		}
	}
	if found == nil {
		found = append(found, Finding{OK, CheckPosition, "requests and retries", fmt.Sprintf("%s with a position within the log, %s behind the end", count(healthy, "partition"), count(int(open), "offset")), ""})
	}
	return found
}

// some names the first few of many.
func some(all []string) string {
	const most = 5
	if more := len(all) - most; more > 0 {
		all = append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(all, ", ")
}
