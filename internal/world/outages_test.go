package world

import (
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An hour without a gateway, in each of its ways to be away, and a worker that
// dies while it holds requests back: nothing fails, nothing is lost.
func TestGatewayIsAwayForAnHour(t *testing.T) {
	for _, mode := range []gatewaysim.Outage{gatewaysim.OutageRefuse, gatewaysim.Outage5xx, gatewaysim.OutageFreeze} {
		t.Run(string(mode), func(t *testing.T) {
			inVirtualTime(t, Config{Partitions: 1, GatewayHosts: 2, Gateway: unhurried}, func(t *testing.T, s *stage) {
				all := s.workers(2)
				wait := s.asks(Traffic{Seed: 20, Requests: 200, Over: 70 * time.Minute, Repeats: .1})
				time.Sleep(2 * time.Minute)
				s.Gateway.SetOutage(gatewaysim.AllHosts, mode)
				time.Sleep(30 * time.Minute)
				for _, wk := range all { // one of them holds the requests
					wk.Kill()
				}
				time.Sleep(2 * time.Minute)
				s.workers(2)
				time.Sleep(28 * time.Minute)
				during := len(s.Gateway.Calls())
				s.Gateway.SetOutage(gatewaysim.AllHosts, gatewaysim.NoOutage)
				wait()
				s.answered(10 * time.Minute)
				if report := s.check(nil); report.Failed > 0 || report.DeadLetters > 0 {
					t.Errorf("%d failed, %d dead letters", report.Failed, report.DeadLetters)
				}
				t.Logf("%d calls until the outage was over", during)
			})
		})
	}
}

// The gateway refuses one merchant for half an hour: its requests wait, those
// of the others are answered as quickly as ever.
func TestOneMerchantIsRefused(t *testing.T) {
	const refused = "1900000110"
	inVirtualTime(t, Config{Partitions: 2, Gateway: unhurried}, func(t *testing.T, s *stage) {
		s.workers(1)
		wait := s.asks(Traffic{Seed: 21, Requests: 600, Over: 40 * time.Minute})
		time.Sleep(5 * time.Minute)
		if err := s.Gateway.Refuse(refused, "SIGNERROR"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		if err := s.Gateway.Refuse(refused, ""); err != nil {
			t.Fatal(err)
		}
		wait()
		s.answered(10 * time.Minute)
		if report := s.check(nil); report.Failed > 0 || report.DeadLetters > 0 {
			t.Errorf("%d failed, %d dead letters", report.Failed, report.DeadLetters)
		}
		asked := make(map[string]time.Time)
		for _, r := range s.observer.Records(s.Config.Topics.Requests) {
			asked[orderOf(r.Message).OutTradeNo] = r.At
		}
		for _, r := range s.observer.Records(s.Config.Topics.Outcomes) {
			a, err := readOutcome(r)
			if err != nil {
				t.Error(err)
			} else if took := a.CompletedAt.Sub(asked[a.OutTradeNo]); a.MchID != refused && took > 5*time.Second {
				t.Errorf("%s of merchant %s took %v", a.OutTradeNo, a.MchID, took)
			}
		}
	})
}

// Requests move to a retry topic while the broker takes nothing, or takes it
// and says that it did not; and the worker dies in the middle of it.
func TestBrokerIsAwayDuringAMoveToARetryTopic(t *testing.T) {
	for sentence, err := range map[string]*kerr.Error{
		"retries are refused": kerr.NotEnoughReplicas,
		"retries are written, and the broker says that it ran out of time": kerr.RequestTimedOut,
	} {
		t.Run(sentence, func(t *testing.T) {
			inVirtualTime(t, Config{Partitions: 2, Gateway: unhurried}, func(t *testing.T, s *stage) {
				victim := s.worker("worker-0", nil)
				fault := s.Kafka.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: s.Config.Topics.Retries()[0], Err: err, Count: -1})
				ordinary := s.asks(Traffic{Seed: 22, Requests: 200, Over: 12 * time.Minute})
				s.asks(Traffic{Seed: 23, Requests: 60, Over: 20 * time.Second, Behaviours: []string{"SYSERR"}})()
				s.stays(time.Minute)
				victim.Kill()
				s.stays(10 * time.Second)
				s.worker("worker-1", nil)
				s.stays(2 * time.Minute)
				fault.Remove()
				ordinary()
				s.answered(15 * time.Minute)
				s.check(nil)
			})
		})
	}
}
