package metrics

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/golden"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

const (
	gatewayURL = "https://api.mch.weixin.qq.com"
	requests   = "closeorder.requests"
	outcomes   = "closeorder.outcomes"
	retries    = "closeorder.retries.5s"
)

var errBroker = errors.New("the broker is away")

// busy are the metrics of a worker that has seen something of everything.
func busy(t testing.TB) *Metrics {
	t.Helper()
	m := New(Config{Merchants: 2, Version: "v1", Revision: "abc"})
	m.Took(requests)
	m.Called(consumer.Turn{Class: consumer.Temporary})
	m.Answered(answer("1900000109", events.Closed, "SUCCESS"))
	m.Answered(answer("1900000110", events.Paid, "ORDERPAID"))
	m.Answered(answer("1900000109", events.Failed, events.CodeUnknownMerchant))
	m.PutOff(consumer.PutOff{Topic: retries, Code: "SYSTEMERROR"})
	m.Attempt(t.Context(), closer.Attempt{Call: closer.CallClose, Host: gatewayURL, Class: closer.Closed, Code: "SUCCESS", Duration: time.Second})
	m.Attempt(t.Context(), closer.Attempt{Call: closer.CallQuery, Host: gatewayURL, Class: closer.NoAnswer, Code: "TIMEOUT", Failure: closer.FailTimeout})
	m.Published(outcomes, 3, time.Millisecond, nil)
	m.Published(outcomes, 3, time.Millisecond, errBroker)
	m.Committed(time.Millisecond, nil)
	m.Committed(time.Millisecond, errBroker)
	m.Assigned(4, 1)
	m.Drained(1, time.Second)
	m.Unfetched(requests, 3, errBroker)
	m.Throttled(1, "Produce", 2*time.Second)
	m.Watch(troubled, func() []closer.HostHealth {
		return []closer.HostHealth{{URL: gatewayURL, InUse: true, Failing: true, Limit: 7}}
	})
	return m
}

func answer(mchID string, result events.Result, code string) consumer.Answer {
	return consumer.Answer{
		Order: events.Order{MchID: mchID, OutTradeNo: "T1"}, Result: result, Code: code,
		Requested: time.Unix(1_700_000_000, 0), Took: 2 * time.Second,
	}
}

// troubled is a state with all that can be shown.
func troubled() consumer.State {
	at := time.Unix(1_800_000_000, 0)
	return consumer.State{
		At: at, Started: at.Add(-time.Hour), Group: "closeorder",
		Health: consumer.Health{Live: true, Waits: []string{"the gateway"}},
		Member: consumer.MemberState{Joined: true, Generation: 5, LeaseUntil: at.Add(30 * time.Second)},
		Partitions: []consumer.PartitionState{
			{Topic: requests, Partition: 0, Watermark: 10, Next: 15, End: 20, Open: 5},
			{Topic: requests, Partition: 3, Watermark: -1, Next: -1, End: -1, Stopped: "unreadable"},
			{Topic: retries, Partition: 3, Watermark: 2, Next: 2, End: 2, FetchError: "away"},
		},
		Lanes:   consumer.LaneState{Slots: 256, InFlight: 2, Resting: 1, Ready: 3, Orders: 5, Unpublished: 4, LongestTurn: 3 * time.Second},
		Breaker: consumer.BreakerState{State: "open", Since: at.Add(-time.Minute), Limit: 1},
		Holds: []consumer.HoldState{
			{MchID: "1900000109", Since: at.Add(-10 * time.Minute)},
			{MchID: "1900000109", AppID: "wx1", Since: at.Add(-time.Minute)},
			{MchID: "1900000110", Since: at.Add(-time.Minute), Silent: true},
		},
		Tiers:            []consumer.TierState{{Topic: retries, Delay: 5 * time.Second, Waiting: 6, Unread: 7}},
		Publishing:       consumer.PublishingState{Failing: at.Add(-20 * time.Second), Error: "away", Refused: 2, Blocked: true},
		Committing:       consumer.CommittingState{Failing: at.Add(-30 * time.Second), Pending: at.Add(-40 * time.Second)},
		Memory:           consumer.MemoryState{Held: 1 << 20, Most: 1 << 26},
		Connections:      6,
		DueNow:           12,
		OldestUnanswered: 90 * time.Second,
	}
}

// scrape is what /metrics says, by series.
func scrape(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	all := make(map[string]string)
	lines := bufio.NewScanner(rec.Body)
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(line, "#") {
			i := strings.LastIndexByte(line, ' ')
			all[line[:i]] = line[i+1:]
		}
	}
	return all
}

// One sentence for each thing that somebody on call asks.
func TestWhatIsShown(t *testing.T) {
	got := scrape(t, busy(t))
	for sentence, tt := range map[string]struct{ series, want string }{
		"requests are counted by topic":                      {`closeorder_requests_taken_total{topic="closeorder.requests"}`, "1"},
		"outcomes are counted by code":                       {`closeorder_outcomes_total{code="UNKNOWN_MERCHANT",outcome="failed"}`, "1"},
		"what never came up is there as zero":                {`closeorder_outcomes_total{code="EXPIRED",outcome="failed"}`, "0"},
		"outcomes are counted by merchant":                   {`closeorder_merchant_outcomes_total{mch_id="1900000110",outcome="paid"}`, "1"},
		"failures of a merchant have their code":             {`closeorder_merchant_failures_total{code="UNKNOWN_MERCHANT",mch_id="1900000109"}`, "1"},
		"how long the outcome took":                          {`closeorder_outcome_delay_seconds_bucket{outcome="closed",le="2.5"}`, "1"},
		"what waits, and why":                                {`closeorder_put_off_total{code="SYSTEMERROR",topic="closeorder.retries.5s"}`, "1"},
		"turns by class":                                     {`closeorder_turns_total{class="temporary"}`, "1"},
		"calls by host and class":                            {`closeorder_gateway_calls_total{call="closeorder",class="closed",host="https://api.mch.weixin.qq.com"}`, "1"},
		"calls that failed, by why":                          {`closeorder_gateway_failures_total{call="orderquery",code="TIMEOUT",host="https://api.mch.weixin.qq.com"}`, "1"},
		"answers by the gateway's code":                      {`closeorder_gateway_answers_total{call="closeorder",code="SUCCESS"}`, "1"},
		"how long a call took":                               {`closeorder_gateway_call_duration_seconds_bucket{call="closeorder",class="closed",host="https://api.mch.weixin.qq.com",le="1"}`, "1"},
		"records that are acknowledged, not those that fail": {`closeorder_records_published_total{topic="closeorder.outcomes"}`, "3"},
		"requests that failed":                               {`closeorder_publish_errors_total{topic="closeorder.outcomes"}`, "1"},
		"commits":                                            {`closeorder_commit_duration_seconds_count`, "2"},
		"commits that failed":                                {`closeorder_commit_errors_total`, "1"},
		"rebalances":                                         {`closeorder_rebalances_total`, "1"},
		"partitions that came":                               {`closeorder_partitions_assigned_total`, "4"},
		"partitions that went":                               {`closeorder_partitions_given_up_total`, "1"},
		"how long a drain took":                              {`closeorder_drain_duration_seconds_sum`, "1"},
		"fetches that failed":                                {`closeorder_fetch_errors_total{topic="closeorder.requests"}`, "1"},
		"what quotas cost":                                   {`closeorder_throttled_seconds_total{api="Produce"}`, "2"},
		"the build":                                          {fmt.Sprintf(`closeorder_build_info{goversion=%q,revision="abc",version="v1"}`, runtime.Version()), "1"},
		"that the state is told":                             {`closeorder_state_readable`, "1"},
		"alive":                                              {`closeorder_live`, "1"},
		"not ready":                                          {`closeorder_ready`, "0"},
		"a member":                                           {`closeorder_member_joined`, "1"},
		"for how long its partitions are its own":            {`closeorder_lease_remaining_seconds`, "30"},
		"the lag of a partition":                             {`closeorder_partition_lag{partition="0",topic="closeorder.requests"}`, "10"},
		"a partition that nobody has read of yet":            {`closeorder_partition_lag{partition="3",topic="closeorder.requests"}`, "0"},
		"a partition that is stopped":                        {`closeorder_partition_stopped{partition="3",topic="closeorder.requests"}`, "1"},
		"a partition that cannot be fetched":                 {`closeorder_partition_fetch_failing{partition="3",topic="closeorder.retries.5s"}`, "1"},
		"partitions of a topic":                              {`closeorder_partitions{topic="closeorder.requests"}`, "2"},
		"the number to scale on":                             {`closeorder_due_now`, "12"},
		"the age of the oldest request":                      {`closeorder_oldest_unanswered_seconds`, "90"},
		"what waits in a tier":                               {`closeorder_tier_waiting{topic="closeorder.retries.5s"}`, "6"},
		"what of a tier is not read":                         {`closeorder_tier_unread{topic="closeorder.retries.5s"}`, "7"},
		"in flight":                                          {`closeorder_in_flight`, "2"},
		"the breaker is open":                                {`closeorder_breaker_state{state="open"}`, "1"},
		"and not closed":                                     {`closeorder_breaker_state{state="closed"}`, "0"},
		"for how long":                                       {`closeorder_breaker_open_seconds`, "60"},
		"a host in use":                                      {`closeorder_host_in_use{host="https://api.mch.weixin.qq.com"}`, "1"},
		"a host that fails":                                  {`closeorder_host_failing{host="https://api.mch.weixin.qq.com"}`, "1"},
		"how many calls a host gets":                         {`closeorder_host_limit{host="https://api.mch.weixin.qq.com"}`, "7"},
		"merchants that are refused, each once":              {`closeorder_merchants_held{reason="refused"}`, "1"},
		"merchants that are silent":                          {`closeorder_merchants_held{reason="silent"}`, "1"},
		"the holds of a merchant":                            {`closeorder_merchant_held{mch_id="1900000109",reason="refused"}`, "2"},
		"for how long somebody is held":                      {`closeorder_oldest_hold_seconds`, "600"},
		"for how long publishing fails":                      {`closeorder_publish_failing_seconds`, "20"},
		"for how long commits fail":                          {`closeorder_commit_failing_seconds`, "30"},
		"for how long a commit is due":                       {`closeorder_commit_pending_seconds`, "40"},
		"records that are refused":                           {`closeorder_refused_records`, "2"},
		"what requests wait for":                             {`closeorder_waits{reason="gateway"}`, "1"},
		"and what not":                                       {`closeorder_waits{reason="quotas"}`, "0"},
		"memory":                                             {`closeorder_buffered_bytes`, "1.048576e+06"},
		"connections":                                        {`closeorder_kafka_connections`, "6"},
		"nothing was left out":                               {`promhttp_metric_handler_errors_total{cause="gathering"}`, "0"},
	} {
		if value, is := got[tt.series]; !is || value != tt.want {
			t.Errorf("%s: %s is %q, want %q", sentence, tt.series, value, tt.want)
		}
	}
}

// Names, types and labels are read by rules and dashboards of others: a change of
// them is a change for them.
func TestNamesStay(t *testing.T) {
	m := busy(t)
	m.Handler()
	golden.Check(t, "testdata/metrics.txt", described(t, m))
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// described lists the metrics of closeorder: name, type, labels, help.
func described(t *testing.T, m *Metrics) string {
	t.Helper()
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "closeorder_") {
			continue
		}
		var labels []string
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				if !slices.Contains(labels, l.GetName()) {
					labels = append(labels, l.GetName())
				}
			}
		}
		slices.Sort(labels)
		kind := strings.ToLower(f.GetType().String())
		if h := f.GetMetric()[0].GetHistogram(); h != nil && h.Schema != nil && len(h.GetBucket()) > 0 {
			kind += ", native and classic"
		}
		fmt.Fprintf(&b, "%s{%s} %s\n    %s\n", f.GetName(), strings.Join(labels, ","), kind, f.GetHelp())
	}
	return b.String()
}

// A worker that is stuck in a lock tells nothing of itself. That must be seen, and
// must not hang whoever asks.
func TestAStuckWorkerDoesNotHangTheScrape(t *testing.T) {
	m := New(Config{Patience: 10 * time.Millisecond})
	free, asked := make(chan struct{}), make(chan struct{}, 100)
	m.Watch(func() consumer.State { asked <- struct{}{}; <-free; return troubled() }, func() []closer.HostHealth { return nil })
	for range 3 {
		got := scrape(t, m)
		if got["closeorder_state_readable"] != "0" {
			t.Errorf("closeorder_state_readable is %q", got["closeorder_state_readable"])
		}
		if _, is := got["closeorder_live"]; is {
			t.Error("a state is shown that nobody has told")
		}
		if got["closeorder_rebalances_total"] != "0" {
			t.Error("what was counted is not shown")
		}
	}
	if n := len(asked); n != 1 {
		t.Errorf("a worker that does not answer was asked %d times, want once", n)
	}
	close(free)
	for range 1000 { // the first answers are of the old question
		if scrape(t, m)["closeorder_state_readable"] == "1" {
			return
		}
	}
	t.Error("the worker answers again, and closeorder_state_readable stays 0")
}

// Nothing is told of a worker before there is one.
func TestWithoutAWorker(t *testing.T) {
	got := scrape(t, New(Config{}))
	if _, is := got["closeorder_state_readable"]; is {
		t.Error("closeorder_state_readable is shown, and there is no worker")
	}
	if len(got) < 50 {
		t.Errorf("only %d series", len(got))
	}
}

// What a worker said after its scrape was over may be hours old at the next one.
func TestAnAnswerThatCameTooLateIsNotShown(t *testing.T) {
	m := New(Config{Patience: time.Minute})
	free := make(chan struct{})
	asked := 0
	c := &m.state
	c.watch(func() consumer.State {
		if asked++; asked == 1 {
			<-free
		}
		return consumer.State{DueNow: int64(asked)}
	}, func() []closer.HostHealth { return nil })
	c.patience = 0
	if _, told := c.ask(); told {
		t.Fatal("it was told before it was")
	}
	close(free)
	for len(c.asking) == 0 {
		runtime.Gosched()
	}
	c.patience = time.Minute
	if a, told := c.ask(); !told || a.state.DueNow != 2 {
		t.Errorf("told %v, what was said to question %d", told, a.state.DueNow)
	}
}
