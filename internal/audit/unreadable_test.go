package audit_test

import (
	"strings"
	"testing"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/kafka"
)

// What nobody can read may hold requests without an answer, or answers: it is
// bad, whatever the rest says, and what stands behind it is read.
func TestABatchThatCannotBeReadIsAFinding(t *testing.T) {
	large := strings.Repeat(" ", 100_000)
	for what, c := range map[string]struct {
		write  func(p *planted)
		topic  string
		holes  int64
		others audit.WithoutRequest
	}{
		"of the requests, answered or not": {func(p *planted) {
			m := message("T1", 0)
			m.Value = append(m.Value, large...)
			at := p.write("requests", 0, m)
			p.answers(at, "T1", events.Closed)
		}, "requests", 0, audit.WithoutRequest{BeyondRetention: 1}},
		"of the outcomes": {func(p *planted) {
			p.write("outcomes", 0, events.Message{Value: []byte(large)})
		}, "outcomes", 0, audit.WithoutRequest{}},
	} {
		t.Run(what, func(t *testing.T) {
			p := plant(t)
			client := kafka.Open(kafka.Config{Brokers: p.broker.Addrs(), UnpackedBatch: 50_000})
			t.Cleanup(client.Close)
			p.scope.Reader = &kafka.Reader{Client: client}
			c.write(p)
			at := p.request(0, "T2")
			p.answers(at, "T2", events.Closed)
			p.commits("requests", 0, at.Offset+1)
			r := p.audit()
			if r.Balanced || r.UnreadableOffsets != 1 || r.Closed != 1 || r.Requests != 1 || r.Holes != c.holes || r.OutcomesWithoutRequest != c.others {
				t.Errorf("%+v", r)
			}
			if len(r.Findings) != 1 || r.Findings[0].Kind != audit.Damaged || r.Findings[0].Partition != 0 || r.Findings[0].Offset != 0 ||
				!strings.Contains(r.Findings[0].Detail, "topic "+c.topic+", partition 0: offset 0 cannot be read: it unpacks to more than 50000 bytes (kafka.unpacked_batch)") {
				t.Errorf("findings %+v", r.Findings)
			}
		})
	}
}
