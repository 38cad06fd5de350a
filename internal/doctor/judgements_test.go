package doctor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
)

// expect is what one of the findings must be.
type expect struct {
	severity Severity
	check    string
	evidence string
}

func (e expect) in(t *testing.T, sentence string, found []Finding) {
	t.Helper()
	for _, f := range found {
		if f.Severity == e.severity && f.Check == e.check && strings.Contains(f.Evidence, e.evidence) {
			return
		}
	}
	t.Errorf("%s: want %s %s: %s, got\n%+v", sentence, e.severity, e.check, e.evidence, found)
}

func TestWhoIsInTheGroupIsJudged(t *testing.T) {
	ours := func(id string) group.Fellow {
		return group.Fellow{ID: id, ClientID: "closeorder", Host: "/10.0.0.1", Ours: true}
	}
	static := func(id, instance string) group.Fellow {
		m := ours(id)
		m.InstanceID = instance
		return m
	}
	stable := func(members ...group.Fellow) group.Described {
		return group.Described{Protocol: kafka.Classic, State: "Stable", Told: true, Members: members}
	}
	for _, tt := range []struct {
		sentence string
		is       group.Described
		want     expect
	}{
		{"two of ours", stable(ours("a"), ours("b")), expect{OK, CheckMembers, "Stable, 2 members: closeorder at 10.0.0.1, closeorder at 10.0.0.1"}},
		{"nobody", group.Described{}, expect{Note, CheckMembers, "it has no member"}},
		{"it rebalances, and nobody says who he is", group.Described{Protocol: kafka.Classic, State: "PreparingRebalance", Members: []group.Fellow{{ID: "a"}}}, expect{Note, CheckMembers, "PreparingRebalance, with 1 member"}},
		{"a client of another library has requests that nobody answers", stable(ours("a"), group.Fellow{ID: "b", ClientID: "analytics", Host: "/10.0.0.9"}), expect{Danger, CheckForeign, "analytics at 10.0.0.9"}},
		{"an older closeorder, during an upgrade", stable(ours("a"), group.Fellow{ID: "b", ClientID: "closeorder", Host: "/10.0.0.9"}), expect{Warning, CheckForeign, "an older closeorder?"}},
		{"a client that has brought the protocol of KIP-848", group.Described{Protocol: kafka.Consumer, State: "Stable", Members: []group.Fellow{{ID: "b", ClientID: "analytics"}}}, expect{Danger, CheckProtocol, "KIP-848"}},
		{"a static id that some lack", stable(static("a", "one"), ours("b")), expect{Note, CheckStatic, "1 of 2 members have a kafka.instance_id"}},
		{"the static id of these settings is in use", stable(static("a", "mine"), static("b", "two")), expect{Note, CheckStatic, "kafka.instance_id mine"}},
		{"a static id that two have", stable(static("a", "one"), static("b", "one")), expect{Warning, CheckStatic, "that of 2 members"}},
	} {
		tt.want.in(t, tt.sentence, aboutGroup("g", "closeorder", "mine", tt.is))
	}
	var many []group.Fellow
	for i := range 9 {
		many = append(many, group.Fellow{ID: fmt.Sprint(i), ClientID: fmt.Sprint("c", i), Host: "/h"})
	}
	expect{Danger, CheckForeign, "c4 at h, and 4 more"}.in(t, "many are not all named", aboutGroup("g", "closeorder", "", stable(many...)))
}

func TestSettingsOfTheCoordinatorAreJudged(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		settings map[string]string
		want     expect
	}{
		{"the defaults of Kafka", map[string]string{migrationPolicy: "bidirectional", offsetsKept: "10080"}, expect{OK, CheckRetained, "after 7 days"}},
		{"a policy that leaves partitions without an owner", map[string]string{migrationPolicy: "UPGRADE"}, expect{Warning, CheckMigration, "without an owner"}},
		{"positions that a night without workers ends", map[string]string{offsetsKept: "60"}, expect{Warning, CheckRetained, "kafka.start decides"}},
	} {
		tt.want.in(t, tt.sentence, aboutCoordinator(tt.settings))
	}
	if found := aboutCoordinator(nil); found != nil {
		t.Errorf("brokers that do not know them: %+v", found)
	}
}

func TestWhatBrokersLackIsJudgedByWhoMissesIt(t *testing.T) {
	lacking := []kafka.Feature{kafka.LastingPositions, kafka.StaticMembers, kafka.OpenIdempotence}
	expect{Note, CheckLacks, "lasting-positions (Kafka 2.1)"}.in(t, "positions that are forgotten", aboutLacks(lacking, ""))
	expect{Warning, CheckLacks, "each restart is a rebalance"}.in(t, "a static id that is left out", aboutLacks(lacking, "worker-0"))
	if n := len(aboutLacks(lacking, "")); n != 1 {
		t.Errorf("%d findings for a dynamic member, want 1", n)
	}
}

func TestManyPositionsAreNotAllNamed(t *testing.T) {
	var spans []span
	for i := range 8 {
		spans = append(spans, span{i, 10, 20, 30})
	}
	expect{Danger, CheckPosition, "4 (at 30, the log ends at 20), and 3 more"}.in(t, "eight", aboutPositions([]string{"r"}, "earliest", map[string][]span{"r": spans}))
	expect{OK, CheckPosition, "2 partitions with a position within the log, 12 offsets behind the end"}.in(t, "well",
		aboutPositions([]string{"r", "q"}, "latest", map[string][]span{"r": {{0, 10, 20, 10}}, "q": {{0, 0, 2, 0}, {1, 5, 5, -1}}}))
}

func TestKeysOfBeforePartitionsWereAdded(t *testing.T) {
	var seen []consumer.KeyPlace
	for i := range 600 {
		key, of := fmt.Appendf(nil, "1900000109:T%d", i), 12
		if i < 200 {
			of = 7
		}
		seen = append(seen, consumer.KeyPlace{Key: key, Partition: kafka.PartitionOf(key, of)})
	}
	expect{Note, CheckKeys, "from before partitions were added"}.in(t, "a third is old", []Finding{aboutKeys("r", 12, seen)})
	expect{OK, CheckKeys, ""}.in(t, "none is old", []Finding{aboutKeys("r", 12, seen[200:])})
}

func TestCheckupsOfMerchantsAreJudged(t *testing.T) {
	var merchants []closer.Merchant
	var checkups []closer.Checkup
	add := func(c closer.Checkup, n int) {
		for range n {
			merchants = append(merchants, closer.Merchant{MchID: fmt.Sprint(1900000000 + len(merchants))})
			checkups = append(checkups, c)
		}
	}
	add(closer.Checkup{Proven: true, Key: 1, Code: "ORDERNOTEXIST"}, 3)
	add(closer.Checkup{Proven: true, Key: 2, Code: "ORDERNOTEXIST"}, 1)
	add(closer.Checkup{Class: closer.MerchantRefused, Code: "NOAUTH", Reason: "no permission"}, 50)
	add(closer.Checkup{Class: closer.Failed, Code: closer.CodeInvalidRequest, Reason: "appid is missing"}, 1)
	add(closer.Checkup{Class: closer.Temporary, Code: "SYSTEMERROR", Reason: "an error of its own"}, 1)
	found := aboutCheckups(merchants, checkups)
	for _, want := range []expect{
		{OK, CheckProbe, "4 of 56 are proven"},
		{Note, CheckProbe, "takes key 2"},
		{Danger, CheckProbe, "NOAUTH: no permission"},
		{Danger, CheckProbe, "the same: NOAUTH"},
		{Note, CheckProbe, "appid is missing"},
		{Warning, CheckProbe, "SYSTEMERROR"},
	} {
		want.in(t, "merchants", found)
	}
	if len(found) != 1+1+mostNamed+1+1+1 {
		t.Errorf("%d findings", len(found))
	}
}

func TestTheClockThatDiffersLeastCounts(t *testing.T) {
	at := func(ahead, give time.Duration) visit {
		return visit{base: "https://h", ahead: ahead, give: give, dated: true}
	}
	for _, tt := range []struct {
		sentence string
		visits   []visit
		want     Severity
	}{
		{"one host is wrong itself", []visit{at(time.Hour, time.Second), at(time.Second, time.Second)}, OK},
		{"a slow answer leaves room", []visit{at(33*time.Second, 4*time.Second)}, OK},
		{"thirty seconds and more", []visit{at(-33*time.Second, time.Second)}, Note},
		{"two minutes and more", []visit{at(122*time.Second, time.Second)}, Warning},
		{"five minutes and more", []visit{at(-302*time.Second, time.Second)}, Danger},
		{"nobody tells", []visit{{base: "https://h"}}, Note},
	} {
		if f := aboutClock(tt.visits); f.Severity != tt.want {
			t.Errorf("%s: %+v", tt.sentence, f)
		}
	}
}

func TestATokenThatEndsIsToldWhereNothingRenewsIt(t *testing.T) {
	now := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	for sentence, c := range map[string]struct {
		until   time.Time
		renewed bool
		want    Severity
		says    string
	}{
		"static, and ends in an hour":       {now.Add(time.Hour), false, Warning, "it holds until 2026-01-31T09:00:00Z"},
		"static, and ends in a year":        {now.AddDate(1, 0, 0), false, OK, "it holds until 2027-01-31T08:00:00Z"},
		"static, and does not say":          {time.Time{}, false, OK, "it does not say when it ends"},
		"renewed, and ends in five minutes": {now.Add(5 * time.Minute), true, OK, "it holds until 2026-01-31T08:05:00Z"},
	} {
		if f := aboutToken(c.until, "s", c.renewed, now); f.Severity != c.want || !strings.Contains(f.Evidence, c.says) || (f.Remedy == "") != (c.want == OK) {
			t.Errorf("%s: %+v", sentence, f)
		}
	}
}
