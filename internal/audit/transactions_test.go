package audit_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/audit"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// begins has what is planted from now on written in a transaction, until it ends.
func (p *planted) begins() (ends func(how kgo.TransactionEndTry)) {
	p.t.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(p.broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("in a transaction"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(producer.Close)
	if err := producer.BeginTransaction(); err != nil {
		p.t.Fatal(err)
	}
	p.producer = producer
	return func(how kgo.TransactionEndTry) {
		p.t.Helper()
		if p.producer = p.plain; producer.EndTransaction(p.ctx, how) != nil {
			p.t.Error("the transaction did not end")
		}
	}
}

func TestOnlyWhatIsCommittedIsCounted(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		plant    func(p *planted)
		want     audit.Report
		notes    []string // how they begin
	}{
		{"a transaction that was committed, of a shop and of a worker", func(p *planted) {
			ends := p.begins()
			a := p.request(0, "A")
			ends(kgo.TryCommit)
			ends = p.begins()
			p.answers(a, "A", events.Closed)
			ends(kgo.TryCommit)
			p.commits("requests", 0, 2) // behind the marker
		}, audit.Report{Balanced: true, Requests: 1, Closed: 1}, nil},
		{"a request of a transaction that was aborted is none", func(p *planted) {
			ends := p.begins()
			p.request(0, "A")
			ends(kgo.TryAbort)
			p.answers(p.request(0, "B"), "B", events.Closed)
			p.commits("requests", 0, 3)
		}, audit.Report{Balanced: true, Requests: 1, Closed: 1}, nil},
		{"an outcome of a transaction that was aborted is no answer, and none that came again", func(p *planted) {
			a, b := p.request(0, "A"), p.request(0, "B")
			ends := p.begins()
			p.answers(a, "A", events.Closed)
			p.answers(b, "B", events.Closed)
			ends(kgo.TryAbort)
			p.answers(a, "A", events.Closed)
			p.commits("requests", 0, 1)
			p.once = true
		}, audit.Report{ExactlyOnce: true, Balanced: true, Requests: 2, Closed: 1, InFlight: 1}, nil},
		{"a request of a transaction that is open is not counted yet", func(p *planted) {
			p.answers(p.request(0, "A"), "A", events.Closed)
			p.begins()
			p.request(0, "B")
			p.request(1, "C")
			p.commits("requests", 0, 1)
		}, audit.Report{Balanced: true, Requests: 1, Closed: 1},
			[]string{"requests: a transaction is open in 2 of 2 partitions (partition 0 from offset 1 on): up to 2 records that stand there are not counted"}},
		{"an answer behind a transaction that is open may be there: no hole, and no proof", func(p *planted) {
			a, b := p.request(0, "A"), p.request(1, "B")
			p.begins()
			p.write("outcomes", 0, events.Message{Value: []byte("of a worker that has died")})
			p.producer = p.plain
			p.write("outcomes", 0, p.encode(outcomeOf(message("A", 0), a, events.Closed, p.now)))
			p.write("outcomes", 1, p.encode(outcomeOf(message("B", 0), b, events.Closed, p.now)))
			p.commits("requests", 0, 1)
			p.commits("requests", 1, 1)
		}, audit.Report{Balanced: true, Requests: 2, Closed: 1, Unproven: 1},
			[]string{"outcomes: a transaction is open in 1 of 2 partitions (partition 0 from offset 0 on), for longer than a worker's ever is: up to 2 records that stand there are hidden from all who read committed, order services too; find who left it open with: kafka-transactions.sh find-hanging",
				"1 requests are finished, and what became of them may stand behind an open transaction"}},
		{"a hole that cannot be answered there is one", func(p *planted) {
			p.request(1, "A")
			p.begins()
			p.write("outcomes", 0, events.Message{Value: []byte("of a worker that has died")})
			p.commits("requests", 1, 1)
		}, audit.Report{Requests: 1, Holes: 1}, []string{"outcomes: a transaction is open in 1 of 2 partitions"}},
		{"so it is with a retry record", func(p *planted) {
			a := p.request(0, "A")
			p.begins()
			p.waits("retries.1m", a, "A")
			p.commits("requests", 0, 1)
		}, audit.Report{Balanced: true, Requests: 1, Unproven: 1},
			[]string{"retries.1m: a transaction is open in 1 of 1 partitions", "1 requests are finished"}},
		{"a commit behind what can be read is none of another log", func(p *planted) {
			p.request(0, "A")
			p.begins()
			p.request(0, "B")
			p.commits("requests", 0, 2) // by a worker that reads uncommitted
		}, audit.Report{Requests: 1, Holes: 1}, []string{"requests: a transaction is open"}},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			p := plant(t)
			p.scope.Settle = 1 // what is open stays open
			if tt.notes == nil {
				p.scope.Settle = 0
			}
			tt.plant(p)
			r := p.audit()
			if len(r.Notes) != len(tt.notes) {
				t.Errorf("notes: %q", r.Notes)
			}
			for i, want := range tt.notes {
				if i < len(r.Notes) && !strings.HasPrefix(r.Notes[i], want) {
					t.Errorf("note %q, want %q", r.Notes[i], want)
				}
			}
			got := audit.Report{
				ExactlyOnce: r.ExactlyOnce, Balanced: r.Balanced, Requests: r.Requests, Closed: r.Closed, Paid: r.Paid, Failed: r.Failed, Waiting: r.Waiting, InFlight: r.InFlight,
				Holes: r.Holes, Unproven: r.Unproven, Duplicates: r.Duplicates, OutcomesWithoutRequest: r.OutcomesWithoutRequest, Unreadable: r.Unreadable,
			}
			if text(t, &got) != text(t, &tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Of a transaction that is committed the offsets may be seen before its outcomes
// are, as each log gets its marker for itself: no hole.
func TestAMarkerThatComesLateMakesNoHole(t *testing.T) {
	p := plant(t)
	p.scope.Settle = time.Hour
	a := p.request(0, "A")
	ends := p.begins()
	p.write("outcomes", 0, p.encode(outcomeOf(message("A", 0), a, events.Closed, p.now)))
	p.commits("requests", 0, 1)
	seen := make(chan struct{})
	var once bool
	p.broker.Cluster().ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		p.broker.Cluster().KeepControl()
		asked := req.(*kmsg.ListOffsetsRequest)
		if !once && asked.IsolationLevel == 1 && slices.ContainsFunc(asked.Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return t.Topic == "outcomes" }) {
			once = true
			close(seen)
		}
		return nil, nil, false
	})
	go func() {
		<-seen // and answered, before anything else is
		ends(kgo.TryCommit)
	}()
	r := p.audit()
	if !r.Balanced || r.Closed != 1 || len(r.Notes) != 0 {
		t.Errorf("%+v", *r)
	}
}

// Who reads uncommitted has no patience for anybody: all there is counts.
func TestAnAuditOfAllThereIsWaitsForNoTransaction(t *testing.T) {
	p := plant(t)
	client := kafka.Open(kafka.Config{Brokers: p.broker.Addrs(), ReadUncommitted: true})
	defer client.Close()
	p.scope.Reader, p.scope.Settle = &kafka.Reader{Client: client}, time.Hour
	p.begins()
	p.answers(p.request(0, "A"), "A", events.Closed)
	if r := p.audit(); r.Requests != 1 || r.Closed != 1 || len(r.Notes) != 1 { // that nothing is committed
		t.Errorf("%+v", *r)
	}
}

// A worker that is just ending a transaction is as usual as can be.
func TestCommitsThatChangeAreWaitedForInSilence(t *testing.T) {
	p := plant(t)
	client := kafka.Open(kafka.Config{Brokers: p.broker.Addrs(), OnRetry: func(topic string, _ int, err error) { t.Errorf("told: %s: %v", topic, err) }})
	defer client.Close()
	p.scope.Reader = &kafka.Reader{Client: client}
	p.answers(p.request(0, "A"), "A", events.Closed)
	p.commits("requests", 0, 1)
	fault := p.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: 5})
	if r := p.audit(); !r.Balanced || r.Closed != 1 {
		t.Errorf("%+v", *r)
	}
	if err := fault.Wait(p.ctx, 5); err != nil {
		t.Error(err)
	}
}

// One whose transaction stays open has a name for it.
func TestCommitsThatNeverSettleAreExplained(t *testing.T) {
	p := plant(t)
	p.request(0, "A")
	p.commits("requests", 0, 0)
	fault := p.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.UnstableOffsetCommit, Count: -1})
	ctx, enough := context.WithCancel(p.ctx)
	go func() {
		_ = fault.Wait(p.ctx, 3) // or the audit waits in vain, too
		enough()
	}()
	_, err := audit.Take(ctx, p.scope)
	if err == nil || !strings.Contains(err.Error(), "committed offsets of group workers: the transaction of a worker is open, which may have died in it: the brokers end it after kafka.transaction_timeout, and then ask again: ") {
		t.Error(err)
	}
}
