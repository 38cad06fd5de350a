//go:build apachekafka

package drills

import (
	"os"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// send sends SIGSTOP or SIGCONT.
func (s *scene) send(p *process, sig syscall.Signal) {
	s.t.Helper()
	s.good(p.signal(sig))
}

func (s *scene) good(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// stopBroker stops the broker in the middle of its work: connections stay open,
// nothing is answered. It goes on when the test ends.
func (s *scene) stopBroker() {
	s.t.Helper()
	s.good(s.kafka.SignalBroker(0, syscall.SIGSTOP))
	s.t.Cleanup(func() { _ = s.kafka.SignalBroker(0, syscall.SIGCONT) })
}

// writeMerchants replaces the merchants file: the worker follows it.
func (s *scene) writeMerchants(text string) {
	s.t.Helper()
	next := s.merchants + ".next"
	s.good(os.WriteFile(next, []byte(text), 0o600))
	s.good(os.Rename(next, s.merchants))
}

// deleteTopic deletes the topic with this end of its name.
func (s *scene) deleteTopic(name string) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka.Addrs()...))
	s.good(err)
	defer client.Close()
	_, err = kadm.NewClient(client).DeleteTopic(s.t.Context(), s.id+"."+name)
	s.good(err)
	s.eventually("a cluster without the topic "+name, func() error {
		_, out := s.run("topics", "create", "--dry-run", "--partitions", "2")
		if !strings.Contains(out, "would be created") {
			return errText(out)
		}
		return nil
	})
}

type errText string

func (e errText) Error() string { return string(e) }
