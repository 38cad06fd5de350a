//go:build apachekafka

package brokertest

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"sync"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
)

// read by a member that is not ours.
type readByJava struct {
	mu   sync.Mutex
	seen map[events.Source]int
}

func (r *readByJava) has(s events.Source) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[s] > 0
}

func (r *readByJava) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

var consoleLine = regexp.MustCompile(`Partition:(\d+)\s+Offset:(\d+)`)

// joinJava makes the Java console consumer a member of the group, by the
// protocol classic or consumer, with further properties of a consumer. What it
// has read is known when it has left.
func (s *stand) joinJava(protocol string, got *readByJava, properties ...string) (leave func()) {
	ctx, stop := context.WithCancel(context.Background())
	out, failed := "", make(chan error, 1)
	go func() {
		var err error
		args := []string{"--bootstrap-server", cluster.Bootstrap(), "--topic", s.cfg.Topics.Requests, "--group", s.cfg.Kafka.Group,
			"--command-property", "group.protocol=" + protocol, "--command-property", "client.id=java",
			"--command-property", "auto.commit.interval.ms=200", "--command-property", "auto.offset.reset=earliest",
			"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"}
		for _, p := range properties {
			args = append(args, "--command-property", p)
		}
		out, err = cluster.Tool(ctx, apachekafka.ConsoleConsumer, args...)
		failed <- err
	}()
	end := sync.OnceValue(func() error {
		stop()
		err := <-failed
		got.mu.Lock()
		defer got.mu.Unlock()
		if got.seen == nil {
			got.seen = make(map[events.Source]int)
		}
		for _, m := range consoleLine.FindAllStringSubmatch(out, -1) {
			partition, err1 := strconv.Atoi(m[1])
			offset, err2 := strconv.ParseInt(m[2], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			got.seen[events.Source{Topic: s.cfg.Topics.Requests, Partition: partition, Offset: offset}]++
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	s.t.Cleanup(func() { _ = end() })
	return func() {
		s.t.Helper()
		s.must(end())
	}
}
