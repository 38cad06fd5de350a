package group

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/leftout"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// knows is a proof that has a record, and holds some to be dead.
type knows struct{ record, dead string }

func (k knows) Record() []byte          { return []byte(k.record) }
func (k knows) Dead(record []byte) bool { return string(record) == k.dead }

// A worker that was killed and is started again on its machine waits for nobody's
// session: what it knows to be dead leaves. What lives, or may, stays.
func TestADeadMemberOfTheSameMachineLeaves(t *testing.T) {
	for sentence, c := range map[string]struct {
		dead     string // what the new one knows
		instance string // of the one that died
		refuse   *kerr.Error
		leaves   bool
	}{
		"it is known to be dead":                       {dead: "first", leaves: true},
		"nothing is known of it":                       {dead: "another"},
		"it is a static member, and expected back":     {dead: "first", instance: "one"},
		"the group may not be described":               {dead: "first", refuse: kerr.GroupAuthorizationFailed},
		"the coordinator cannot be asked at that time": {dead: "first", refuse: kerr.CoordinatorLoadInProgress},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			var client *kafka.Client
			first, _ := runWith(t, b, func(cfg *Config) {
				client = cfg.Client
				cfg.InstanceID, cfg.Proof = c.instance, knows{record: "first"}
			})
			first.expect(t, "[requests[0 1]]")
			client.Close() // nothing of it reaches anybody from now on
			if c.refuse != nil {
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: c.refuse, Count: -1})
			}
			began := time.Now()
			second, _ := runWith(t, b, func(cfg *Config) { cfg.Proof = knows{record: "second", dead: c.dead} })
			second.expect(t, "[requests[0 1]] of")
			if took := time.Since(began); (took < 3*time.Second) != c.leaves {
				t.Errorf("the new member has the partitions after %v, a session is 6s", took)
			}
		})
	}
}

// What the coordinator does not do is not told as done.
func TestALeaveThatIsRefusedIsToldAsThat(t *testing.T) {
	for sentence, c := range map[string]struct {
		answer *kerr.Error
		warned bool
	}{
		"it may not":              {kerr.GroupAuthorizationFailed, true},
		"the coordinator moves":   {kerr.NotCoordinator, true},
		"it is out of it already": {kerr.UnknownMemberID, false},
		"it leaves":               {nil, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			b := start(t)
			log, hook := logtest.NewNullLogger()
			own, end := runWith(t, b, func(cfg *Config) { cfg.Log = log })
			own.expect(t, "[requests[0 1]]")
			if c.answer != nil {
				b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.LeaveGroup}, Err: c.answer, Count: -1, TopLevel: true})
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			warned := slices.ContainsFunc(hook.AllEntries(), func(e *logrus.Entry) bool {
				return e.Level == logrus.WarnLevel && strings.Contains(e.Message, "could not leave")
			})
			if warned != c.warned {
				t.Errorf("warned: %v, want %v", warned, c.warned)
			}
		})
	}
}

// Before Kafka 2.3 kafka.instance_id is left out on the wire: the member is
// dynamic, says so, and leaves when it stops.
func TestOldBrokersMakeAMemberDynamic(t *testing.T) {
	b := start(t)
	own, end := runWith(t, b, func(cfg *Config) {
		cfg.InstanceID = "one"
		cfg.JoinVersion = func(context.Context) (int16, error) { return 4, nil }
	})
	own.expect(t, "[requests[0 1]]")
	if got := b.Cluster().GroupInfo("g").Members[0]; got.InstanceID != nil {
		t.Errorf("the member is static: %q", *got.InstanceID)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Cluster().GroupInfo("g").Members); n != 0 {
		t.Errorf("%d members are left", n)
	}
}

func TestLocalProof(t *testing.T) {
	living, dead, me := NewLocalProof(""), NewLocalProof("10.0.0.7:9290"), NewLocalProof("127.0.0.1:9290")
	defer living.Close()
	defer me.Close()
	if me.Record() == nil {
		leftout.Test(t, "nothing is known of other processes on this system")
	}
	dead.Close()
	for sentence, c := range map[string]struct {
		record string
		want   bool
	}{
		"one that lives":            {string(living.Record()), false},
		"itself":                    {string(me.Record()), false},
		"one that is gone":          {string(dead.Record()), true},
		"one of another machine":    {strings.Replace(string(dead.Record()), `"boot":"`, `"boot":"x`, 1), false},
		"one of another namespace":  {strings.Replace(string(dead.Record()), `"net":"`, `"net":"x`, 1), false},
		"one of another host":       {strings.Replace(string(dead.Record()), `"host":"`, `"host":"x`, 1), false},
		"one that says no socket":   {string(dead.Whereabouts()), false},
		"one with a foreign socket": {strings.Replace(string(dead.Record()), "@closeorder-", "@other-", 1), false},
		"nothing that can be read":  {"{", false},
		"nothing":                   {"", false},
	} {
		if got := me.Dead([]byte(c.record)); got != c.want {
			t.Errorf("%s: dead %v, want %v (%s)", sentence, got, c.want, c.record)
		}
	}
	if place := string(dead.Whereabouts()); !strings.Contains(place, `"admin":"10.0.0.7:9290"`) || strings.Contains(place, "name") {
		t.Errorf("a place is %s", place)
	}
	if nobody := new(LocalProof); nobody.Dead(dead.Record()) {
		t.Error("a process that does not know where it is itself knows of others")
	}
}
