//go:build apachekafka && brokers

package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/world"
	"github.com/twmb/franz-go/pkg/kadm"
)

// TestBrokers tells the same story on each version of Apache Kafka that there is,
// or on those that CLOSEORDER_BROKERS names ("1.1.1 2.8.2"): what docs/compatibility.md
// says of them.
func TestBrokers(t *testing.T) {
	all, err := apachekafka.Versions()
	if err != nil {
		t.Fatal(err)
	}
	if some := strings.Fields(os.Getenv("CLOSEORDER_BROKERS")); len(some) > 0 {
		all = some
	}
	for _, version := range all {
		t.Run(version, func(t *testing.T) { story(t, version) })
	}
}

const (
	// least is how many requests the story has, without those of exactly once.
	least = 500
	// latecomer is a merchant that the gateway knows and the workers do not, at
	// first.
	latecomer = "1900000112"
)

func story(t *testing.T, version string) {
	const perSecond = 24
	began := time.Now()
	r, seed := random(t)
	t.Logf("seed %d", seed)
	gateway := realGateway(seed)
	gateway.Merchants = gatewaysim.DefaultMerchants()
	direct := gateway.Merchants[0]
	direct.MchID = latecomer
	gateway.Merchants = append(gateway.Merchants, direct)
	names := []string{"worker-0", "worker-1", "worker-2"}
	s := newStage(t, settings{
		kafka: apachekafka.Config{Version: version}, gateway: gateway, partitions: 6,
		workers: names, static: names[:2],
	})
	s.step("what is there is left as it is", func() { s.run("topics", "create", "--partitions", "6") })
	if t.Failed() {
		return
	}
	s.startAll()

	var done disturbances
	sent := s.underLoad(perSecond, storyTraffic(seed), func() {
		asked := time.Now()
		s.askOdd(asked.Add(10 * time.Second))
		s.killWorkers(r, &done, func() bool { return done.kills == 0 })
		for _, w := range []*worker{s.workers[0], s.workers[2]} { // with an id, and without
			s.must(w.kill())
			s.must(w.start())
			s.awaitAssigned(w)
			done.kills++
			done.starts++
		}
		s.must(s.bounceBroker(0, true, 0, &done))
		for _, w := range s.workers {
			s.must(w.stop())
			s.must(w.start())
			s.awaitAssigned(w)
		}
		pause(t.Context().Done(), time.Until(asked.Add(least/perSecond*time.Second)))
	})
	t.Logf("%s: the load is over", seconds(time.Since(began)))
	s.awaitAnswers(sent)
	if t.Failed() {
		return
	}
	s.step("it is looked at while it runs", s.looksWell)
	s.step("what the version lacks was said at the start", func() { s.saysWhatLacks(version) })
	s.stopAndStart()
	t.Logf("%s: stopped", seconds(time.Since(began)))
	report, e := s.check()
	if report.Requests != sent || sent < least {
		t.Errorf("%d requests were acknowledged, the topic holds %d, and %d are wanted", sent, report.Requests, least)
	}
	for what, n := range map[string]int{"closed": report.Closed, "paid": report.Paid, "failed": report.Failed, "waiting": len(e.Retries), "dead letters": len(e.DeadLetters)} {
		if n == 0 {
			t.Errorf("nothing is %s: %v", what, report)
		}
	}
	t.Logf("%d requests, %d kills of workers and %d of the broker: %v", sent, done.kills, done.killed, report)
	s.step("a foreign client reads the outcomes", func() { s.foreignClientReads(len(e.Outcomes)) })
	s.step("an audit that does not find the outcomes says so", func() { s.auditFindsHoles(sent) })
	s.step("dead letters are replayed", func() { s.replays(sent) })
	s.step("exactly once", func() { s.once(version, perSecond) })
	t.Logf("%s: told", seconds(time.Since(began)))
}

// storyTraffic is mixedTraffic without the orders that take half a minute.
func storyTraffic(seed uint64) world.Traffic {
	traffic := mixedTraffic(seed)
	traffic.Behaviours = slices.DeleteFunc(traffic.Behaviours, func(b string) bool {
		return slices.Contains([]string{"DEAD", "STALL", "SYSERR", "PAYING", "UNKNOWN", "STATUS", "PAYERROR", "LIMIT"}, b)
	})
	return traffic
}

// askOdd asks for what mixedTraffic has nothing of: requests that wait until a
// time, and those of a merchant that is not known yet.
func (s *stage) askOdd(later time.Time) {
	ctx := s.t.Context() // they are waited for later
	for i := range 10 {
		s.shop.send(ctx, plain(fmt.Sprint("later-", i), fmt.Sprintf(`,"not_before":%q`, later.UTC().Format(time.RFC3339))))
		no := fmt.Sprint("unknown-", i)
		s.shop.send(ctx, world.Message{Key: []byte(no), Value: fmt.Appendf(nil, `{"mch_id":%q,"out_trade_no":%q}`, latecomer, no)})
	}
}

// saysWhatLacks compares what each worker says of the brokers with what their version
// lacks, by the releases of the features.
func (s *stage) saysWhatLacks(version string) {
	var want []string
	static := older(version, kafka.StaticMembers.Since().String())
	for _, f := range kafka.Features() {
		if older(version, f.Since().String()) && f != kafka.StaticMembers && f != kafka.OpenIdempotence {
			want = append(want, string(f))
		}
	}
	for i, w := range s.workers {
		text, err := os.ReadFile(w.log)
		s.must(err)
		var said []string
		for line := range bytes.Lines(text[w.runFrom:]) {
			var e struct{ Lacks, Remedy string }
			if json.Unmarshal(line, &e) == nil && e.Lacks != "" && e.Remedy != "" {
				said = append(said, e.Lacks)
			}
		}
		if !slices.Equal(said, want) {
			s.t.Errorf("%s says that the brokers lack %q, want %q", w.name, said, want)
		}
		if got := bytes.Contains(text[w.runFrom:], []byte("know no kafka.instance_id")); got != (static && i < 2) {
			s.t.Errorf("%s says that its kafka.instance_id is left out: %v", w.name, got)
		}
	}
	s.t.Logf("lacks %s", strings.Join(want, ", "))
}

// looksWell has all commands that look do so.
func (s *stage) looksWell() {
	if out := s.run("status"); !strings.Contains(out, "serving: 3 members with 24 partitions") {
		s.t.Errorf("status:\n%s", out)
	}
	if out := s.run("trace", "later-0"); !strings.Contains(out, "closed") {
		s.t.Errorf("trace:\n%s", out)
	}
	code, out, errs := s.runWith([]string{"CLOSEORDER_GATEWAY_URLS=" + s.workers[0].host.url()}, "doctor", "--json")
	var told struct {
		Findings []struct{ Severity, Check, Subject, Evidence, Remedy string }
	}
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		s.t.Fatalf("doctor: exit code %d: %v\n%s%s", code, err, errs, out)
	}
	for _, f := range told.Findings {
		if f.Severity == "danger" || strings.Contains(f.Evidence, "not examined") {
			s.t.Errorf("doctor: %+v", f)
		}
		if f.Severity != "ok" || f.Check == "broker-release" {
			s.t.Logf("doctor: %s %s, %s: %s", f.Severity, f.Check, f.Subject, f.Evidence)
		}
	}
}

// foreignClientReads reads all outcomes with the Java console consumer of the
// version.
func (s *stage) foreignClientReads(n int) {
	ctx, cancel := s.context()
	defer cancel()
	out, err := s.kafka.Tool(ctx, apachekafka.ConsoleConsumer, "--bootstrap-server", s.kafka.Bootstrap(), "--topic", outcomes, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--command-property", "isolation.level=read_committed")
	s.must(err)
	if lines := strings.Count(out, "\n"); lines != n {
		s.t.Errorf("%d outcomes were read, %d are there", lines, n)
	}
}

// audited is what an audit says.
type audited struct {
	Balanced                                      bool
	Requests, Holes, Unproven, Duplicates, Failed int
	Findings                                      []struct{ Kind string }
}

func (s *stage) audit(env ...string) (code int, says audited) {
	s.t.Helper()
	code, out, errs := s.runWith(env, "audit", "--json")
	if err := json.Unmarshal([]byte(out), &says); err != nil {
		s.t.Fatalf("audit: exit code %d: %v\n%s%s", code, err, errs, out)
	}
	return code, says
}

// auditFindsHoles hides the outcomes: an audit that balanced nevertheless would
// prove nothing.
func (s *stage) auditFindsHoles(sent int) {
	hidden := "CLOSEORDER_TOPICS_OUTCOMES=" + outcomes + ".hidden"
	if code, out, errs := s.runWith([]string{hidden}, "topics", "create", "--partitions", "6"); code != 0 {
		s.t.Fatalf("exit code %d\n%s%s", code, errs, out)
	}
	if code, says := s.audit(hidden); code != 1 || says.Balanced || says.Holes != sent {
		s.t.Errorf("without outcomes it says, with exit code %d: %+v; want %d holes", code, says, sent)
	}
	if code, says := s.audit(); code != 0 || !says.Balanced || says.Holes != 0 || says.Requests != sent {
		s.t.Errorf("with them it says, with exit code %d: %+v", code, says)
	}
}

// replays has the dead letters of the merchant that is known now answered well: one
// for each of its ten requests, and perhaps repeats of some, after a kill.
func (s *stage) replays(sent int) {
	filter := []string{"--code", "UNKNOWN_MERCHANT", "--mch-id", latecomer}
	if list := s.run(append([]string{"deadletters", "list"}, filter...)...); !regexp.MustCompile(`(?m)^\d{2} dead letters: UNKNOWN_MERCHANT \d{2}$`).MatchString(list) {
		s.t.Errorf("%s", list)
	}
	more := strings.TrimSuffix(merchantsFile(), "\n") + "\n  - {mch_id: \"" + latecomer + "\", appid: wx8888888888888888, rate: 5000, key: " + gatewaysim.DirectKey + "}\n"
	s.must(os.WriteFile(s.merchants, []byte(more), 0o600))
	if out := s.run(append([]string{"deadletters", "replay", "--yes"}, filter...)...); !strings.Contains(out, "\n10 replayed to ") {
		s.t.Errorf("%s", out)
	}
	s.startAll()
	s.awaitAnswers(sent + 10)
	s.stopAll()
	if out := s.run(append([]string{"deadletters", "replay", "--yes"}, filter...)...); !regexp.MustCompile(`(?m)^nothing to do; \d{2} skipped \(\d{2} answered\)$`).MatchString(out) {
		s.t.Errorf("%s", out)
	}
	if code, says := s.audit(); code != 0 || !says.Balanced || says.Requests != sent+10 {
		s.t.Errorf("audit, exit code %d: %+v", code, says)
	}
}

// exactlyOnceFrom is the first version that can do it (KIP-447).
const exactlyOnceFrom = "2.5"

// once goes over to exactly_once, and kills as before: not one outcome may stand
// there twice. Where the brokers cannot do it, run must end and say so.
func (s *stage) once(version string, perSecond int) {
	if older(version, exactlyOnceFrom) {
		w := s.workers[0]
		code, _, out := s.runWith(append(w.env[len(s.env):], "CLOSEORDER_PROCESSING_GUARANTEE="+exactlyOnce), "run")
		if code != 1 || !strings.Contains(out, "exactly_once needs") || !strings.Contains(out, "Kafka 2.5") {
			s.t.Errorf("run ends with exit code %d:\n%s", code, out)
		}
		return
	}
	for _, w := range s.workers {
		w.env = append(w.env, "CLOSEORDER_PROCESSING_GUARANTEE="+exactlyOnce)
	}
	before := len(s.observer.Records(outcomes))
	s.startAll()
	sent := s.underLoad(perSecond, storyTraffic(7), func() {
		for _, w := range s.workers {
			pause(s.t.Context().Done(), 500*time.Millisecond)
			s.must(w.kill())
			s.must(w.start())
			s.awaitAssigned(w)
		}
		s.must(s.workers[1].stop())
		s.must(s.workers[1].start())
		s.awaitAssigned(s.workers[1])
	})
	s.awaitAnswers(sent + 10)
	s.stopAll()
	s.eventually("a look", func(ctx context.Context) (bool, error) { return true, s.look(ctx) })
	times := make(map[events.Source]int)
	for _, r := range s.observer.Records(outcomes)[before:] {
		o, err := events.DecodeOutcome(r.Message)
		s.must(err)
		if times[o.Source]++; times[o.Source] > 1 || !r.Transactional {
			s.t.Errorf("%s %s of %+v stands there %d times, in a transaction: %v", o.Result, o.ID, o.Source, times[o.Source], r.Transactional)
		}
	}
	if len(times) == 0 {
		s.t.Error("there are no outcomes")
	}
	if code, says := s.audit(); code != 0 || !says.Balanced {
		s.t.Errorf("audit, exit code %d: %+v", code, says)
	}
	s.t.Logf("exactly once: %d requests", len(times))
}

// older compares versions by their first two numbers.
func older(version, than string) bool {
	number := func(v string) []int {
		var major, minor int
		_, _ = fmt.Sscanf(v, "%d.%d", &major, &minor)
		return []int{major, minor}
	}
	return slices.Compare(number(version), number(than)) < 0
}

// TestAnUpgradedCluster is one that keeps records in a format without headers, as
// clusters do that were upgraded in place: topics that closeorder creates are right
// nevertheless, and one that is not is named before anything is refused. Nothing is
// lost while it is wrong.
func TestAnUpgradedCluster(t *testing.T) {
	if some := os.Getenv("CLOSEORDER_BROKERS"); some != "" && !slices.Contains(strings.Fields(some), "2.8.2") {
		t.Skip("CLOSEORDER_BROKERS is without 2.8.2")
	}
	s := newStage(t, settings{
		kafka:      apachekafka.Config{Version: "2.8.2", Properties: map[string]string{"log.message.format.version": "0.10.2"}},
		partitions: 1, workers: []string{"worker-0"},
	})
	w := s.workers[0]
	s.must(w.start())
	if o := s.ask(withHeaders("T1")); o.Result != events.Closed {
		t.Errorf("%s %s (%s), want it closed", o.Result, o.Code, o.Message)
	}
	s.must(w.stop())
	s.format("0.10.2")
	s.must(w.start())
	ctx, cancel := s.context()
	defer cancel()
	s.shop.send(ctx, withHeaders("T2"))
	for _, what := range []string{"ALARM: the settings of a topic lose what is in it: message.format.version=0.10.2", "UnsupportedForMessageFormat"} {
		s.eventually(what, func(context.Context) (bool, error) {
			text, err := os.ReadFile(w.log)
			return bytes.Contains(bytes.ReplaceAll(text[w.runFrom:], []byte(" "), nil), []byte(strings.ReplaceAll(what, " ", ""))), err
		})
	}
	if code, out, _ := s.runWith([]string{"CLOSEORDER_GATEWAY_URLS=" + w.host.url()}, "doctor"); code != 1 || !strings.Contains(out, "topic-format") {
		t.Errorf("doctor, exit code %d:\n%s", code, out)
	}
	s.must(w.kill())
	s.format("0.11.0")
	s.must(w.start())
	s.awaitAnswers(2)
	s.stopAll()
	s.t.Logf("closeorder audit says:\n%s", s.run("audit"))
}

// withHeaders is a CloudEvent in binary mode.
func withHeaders(outTradeNo string) world.Message {
	m := plain(outTradeNo, "")
	for name, value := range map[string]string{"ce_specversion": "1.0", "ce_id": "e-" + outTradeNo, "ce_source": "/shop", "ce_type": "closeorder.requested", "content-type": "application/json"} {
		m.Headers = append(m.Headers, events.Header{Key: name, Value: []byte(value)})
	}
	return m
}

// format sets the format of the outcomes.
func (s *stage) format(value string) {
	s.t.Helper()
	ctx, cancel := s.context()
	defer cancel()
	got, err := s.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: kafka.FormatSetting, Value: &value}}, outcomes)
	s.must(err)
	for _, r := range got {
		s.must(r.Err)
	}
}
