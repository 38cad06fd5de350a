package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
)

// boundOfSeries is the formula of the package's comment.
func boundOfSeries(merchants, retries, partitions int) int {
	const codes = 160
	return 14*merchants + 9 + codes*(retries+5) + 18*(retries+3) + 3*partitions + 3300
}

func TestKnownCodesLeaveRoomForTheFormula(t *testing.T) {
	if n := len(knownCodes()) + mostCodes + 1; n > 160 {
		t.Errorf("there can be %d codes, and the formula says 160", n)
	}
}

// flood is what the worst of worlds does to a worker with so many retry topics and
// partitions: everything that others can make up is made up.
func flood(m *Metrics, merchants, codes, retries, partitions int) {
	topics := []string{requests}
	for i := range retries {
		topics = append(topics, fmt.Sprintf("closeorder.retries.%dm", i))
	}
	for _, topic := range topics {
		m.Took(topic)
		m.Unfetched(topic, 0, errBroker)
	}
	for _, topic := range append([]string{outcomes, "closeorder.dead-letters"}, topics...) {
		m.Published(topic, 1, time.Second, errBroker)
	}
	code := func(i int) string { return fmt.Sprintf("CODE_%d", i) }
	mchID := func(i int) string { return fmt.Sprint(1_900_000_000 + i) }
	results := []events.Result{events.Closed, events.Paid, events.Failed, "other"}
	all := append(knownCodes(), "", "sensible", "a b", "\xff", strings.Repeat("A", 1000))
	for i := range codes {
		all = append(all, code(i))
	}
	for i, code := range all {
		for _, result := range results {
			m.Answered(answer(mchID(i), result, code))
		}
		for _, topic := range topics[1:] {
			m.PutOff(consumer.PutOff{Topic: topic, Code: code})
		}
		for _, call := range []closer.Call{closer.CallClose, closer.CallQuery} {
			m.Attempt(nil, closer.Attempt{Call: call, Host: gatewayURL, Class: closer.Temporary, Code: code}) //nolint:staticcheck // it is not looked at
		}
		m.Called(consumer.Turn{Class: consumer.Class(i % 20)})
		m.Throttled(i, fmt.Sprint("api ", i), time.Second)
	}
	for i := range merchants { // each of them fails in many ways
		for j := range 20 {
			m.Answered(answer(mchID(i), events.Failed, knownCodes()[j]))
		}
	}
	for host := range 100 {
		for _, call := range []closer.Call{closer.CallClose, closer.CallQuery, "another"} {
			for class := closer.Class(-1); class < 12; class++ {
				for _, failure := range append(failures, "", "ANOTHER") {
					m.Attempt(nil, closer.Attempt{Call: call, Host: fmt.Sprint("https://gateway-", host), Class: class, Failure: failure}) //nolint:staticcheck // it is not looked at
				}
			}
		}
	}
	m.Watch(func() consumer.State {
		s := troubled()
		s.Holds, s.Partitions, s.Tiers = nil, nil, nil
		for i := range merchants {
			s.Holds = append(s.Holds, consumer.HoldState{MchID: mchID(i)}, consumer.HoldState{MchID: mchID(i), AppID: "wx1", Silent: true})
		}
		for i := range partitions {
			s.Partitions = append(s.Partitions, consumer.PartitionState{Topic: topics[i%len(topics)], Partition: i})
		}
		for _, topic := range topics[1:] {
			s.Tiers = append(s.Tiers, consumer.TierState{Topic: topic})
		}
		return s
	}, func() (hosts []closer.HostHealth) {
		for i := range 100 {
			hosts = append(hosts, closer.HostHealth{URL: fmt.Sprint("https://gateway-", i)})
		}
		return hosts
	})
}

// Ten thousand merchants, and as many codes, hosts and requests of Kafka.
func TestSeriesAreBounded(t *testing.T) {
	for sentence, tt := range map[string]struct{ merchants, retries, partitions, come int }{
		"the defaults":                        {100, 5, 60, 10_000},
		"no merchant has series of its own":   {0, 5, 60, 300},
		"each merchant has":                   {1000, 5, 60, 1000},
		"one retry topic, and one partition":  {100, 1, 1, 300},
		"twenty retry topics, 500 partitions": {100, 20, 500, 300},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := New(Config{Merchants: tt.merchants})
			flood(m, tt.come, tt.come, tt.retries, tt.partitions)
			own, all := 0, scrape(t, m)
			merchants := make(map[string]bool)
			for series := range all {
				if strings.HasPrefix(series, "closeorder_") {
					own++
				}
				if _, rest, is := strings.Cut(series, `mch_id="`); is {
					id, _, _ := strings.Cut(rest, `"`)
					merchants[id] = true
				}
			}
			if most := boundOfSeries(tt.merchants, tt.retries, tt.partitions); own > most || own < most/2 {
				t.Errorf("%d series, want at most %d, and not so few that the formula is about something else", own, most)
			}
			if len(merchants) != tt.merchants+1 {
				t.Errorf("%d mch_ids, want %d and other", len(merchants), tt.merchants)
			}
			if others := len(all) - own; others > 100 {
				t.Errorf("%d series of the process, want at most 100", others)
			}
			if all[`promhttp_metric_handler_errors_total{cause="gathering"}`] != "0" {
				t.Error("something was left out")
			}
		})
	}
}

// Whoever makes mch_ids up takes no place of a merchant that is served.
func TestMerchantsThatAreNotKnownHaveNoSeries(t *testing.T) {
	m := New(Config{Merchants: 2, Known: func(id string) bool { return id == "1900000109" }})
	for i := range 100 {
		m.Answered(answer(fmt.Sprint(i), events.Failed, events.CodeUnknownMerchant))
	}
	m.Answered(answer("1900000109", events.Closed, "SUCCESS"))
	got := scrape(t, m)
	for series, want := range map[string]string{
		`closeorder_merchant_outcomes_total{mch_id="1900000109",outcome="closed"}`:   "1",
		`closeorder_merchant_failures_total{code="UNKNOWN_MERCHANT",mch_id="other"}`: "100",
		`closeorder_outcomes_total{code="UNKNOWN_MERCHANT",outcome="failed"}`:        "100",
	} {
		if got[series] != want {
			t.Errorf("%s is %q, want %q", series, got[series], want)
		}
	}
}

// What the gateway, or whoever answers for it, puts into a code goes no further
// where it may be a secret or is no code.
func TestCodesThatMayBeSecretsAreNoLabels(t *testing.T) {
	for sentence, tt := range map[string]struct{ code, want string }{
		"a code of a table":       {"SYSTEMERROR", "SYSTEMERROR"},
		"one that nobody knows":   {"NEW_ERROR-2", "NEW_ERROR-2"},
		"none":                    {"", "none"},
		"an API key":              {"192006250b4c09247ec02edce69f6a2d", "other"},
		"a signature in capitals": {"SIGN_9A0A8659F005D6984697E2CA0A9CF3B7", "other"},
		"words":                   {"system error", "other"},
		"Chinese":                 {"签名错误", "other"},
		"no UTF-8":                {"A\xff", "other"},
		"a new line":              {"A\nB", "other"},
		"a code that never ends":  {strings.Repeat("LONG_", 100), "other"},
	} {
		if got := New(Config{}).code(tt.code); got != tt.want {
			t.Errorf("%s: %q is the label %q, want %q", sentence, tt.code, got, tt.want)
		}
	}
}
