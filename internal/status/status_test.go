package status

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/internal/admin"
)

func TestWhatAMemberSaysIsReadOrItIsSaidWhyNot(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	serve := func(code int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/statusz" || r.URL.Query().Get("format") != "json" {
				code = http.StatusNotFound
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	for sentence, c := range map[string]struct {
		address, want, group string
	}{
		"a worker":                          {address: serve(200, `{"build":"v1","state":{"group":"g"}}`), group: "g"},
		"a worker that is stuck":            {address: serve(503, `{"stuck":"locked","state":{"group":""}}`)},
		"something else at that port":       {address: serve(200, "<html>"), want: " answers 200 OK, and not as a worker does"},
		"what sends us on to another place": {address: serve(302, ""), want: " answers 302 Found, and not as a worker does"},
		"a process that is stopped":         {address: silent.Addr().String(), want: "within 2s: it is stopped, stuck, or behind a firewall"},
		"nobody":                            {address: "127.0.0.1:1", want: "no answer of http://127.0.0.1:1: "},
		"no address":                        {address: "\x7f", want: "is no admin address"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			is, err := ask(t.Context(), c.address)
			switch {
			case c.want == "" && (err != nil || is.State.Group != c.group):
				t.Errorf("%+v, %v", is, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	well := consumer.State{Health: consumer.Health{Live: true, Ready: true}}
	for sentence, c := range map[string]struct {
		report Report
		want   string // empty: all is well
	}{
		"a member that serves":                {Report{Members: []Member{{ID: "a", Says: &admin.Status{State: well}}}}, ""},
		"a member that stops":                 {Report{Members: []Member{{ID: "a", Says: &admin.Status{Stopping: true, State: consumer.State{Health: consumer.Health{Live: true}}}}}}, ""},
		"a member that may not be asked":      {Report{Members: []Member{{ID: "a", Silent: "it serves no admin address (admin_addr)"}}}, ""},
		"no member":                           {Report{Group: "g"}, "nobody serves: group g has no member"},
		"no member, as far as may be seen":    {Report{Unseen: []string{"who is in the group"}}, ""},
		"no member, and a worker of others":   {Report{Group: "g", Members: []Member{{Admin: "10.0.0.7:9290", Says: &admin.Status{State: well}}}}, "nobody serves: group g has no member"},
		"strangers alone":                     {Report{Members: []Member{{ID: "a", Foreign: true}}}, "nobody serves: the members"},
		"a partition without an owner":        {Report{Members: []Member{{ID: "a"}}, Topics: []Topic{{Topic: "t", Unowned: []int{3}}}}, "1 partitions of t have no owner"},
		"a member that does not answer":       {Report{Members: []Member{{ID: "a", Admin: "10.0.0.7:9290", Silent: "no answer of http://10.0.0.7:9290"}}}, "10.0.0.7:9290: no answer"},
		"a member whose state cannot be read": {Report{Members: []Member{{ID: "a", Says: &admin.Status{Stuck: "locked"}}}}, "a is stuck: locked"},
		"a member that is stuck":              {Report{Members: []Member{{ID: "a", Says: &admin.Status{State: consumer.State{Health: consumer.Health{Stuck: []string{"a call"}}}}}}}, "a is stuck: a call"},
		"a member that is not ready":          {Report{Members: []Member{{ID: "a", Says: &admin.Status{State: consumer.State{Health: consumer.Health{Live: true, NotReady: []string{"no broker"}}}}}}}, "a is not ready: no broker"},
	} {
		c.report.judge(true)
		if got := strings.Join(c.report.Wrong, "\n"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", sentence, got, c.want)
		}
	}
}

func TestAWorkerThatWasNamedIsTheMemberThatItSays(t *testing.T) {
	says := func(group, id string, joined bool) *admin.Status {
		return &admin.Status{State: consumer.State{Group: group, Member: consumer.MemberState{Joined: joined, MemberID: id}}}
	}
	const notAsked, here, elsewhere = "not asked", "10.0.0.7:9290", "10.0.0.8:9290"
	for sentence, c := range map[string]struct {
		asked   Member
		settled bool
		want    string // name, whether it says something, why it does not; of member a and of what stands behind
	}{
		"a member, by another address than it tells": {Member{Admin: elsewhere, Says: says("g", "a", true)}, true, "a " + elsewhere + " true "},
		"a member that does not answer":              {Member{Admin: here, Silent: "no answer"}, true, "a " + here + " false no answer"},
		"a member whose state cannot be read":        {Member{Admin: here, Says: &admin.Status{Stuck: "locked"}}, true, "a " + here + " true "},
		"nobody at an address of no member":          {Member{Admin: elsewhere, Silent: "no answer"}, true, "a " + here + " false not asked| " + elsewhere + " false no answer"},
		"a worker of another group":                  {Member{Admin: elsewhere, Says: says("h", "b", true)}, true, "a " + here + " false not asked| " + elsewhere + ` false it is a worker of group "h"`},
		"a worker of another cluster": {Member{Admin: elsewhere, Says: says("g", "b", true)}, true,
			"a " + here + " false not asked| " + elsewhere + " false it is none of the group's members here: it comes or goes at this moment, or it is of another cluster"},
		"one that may have joined while the group rebalances": {Member{Admin: elsewhere, Says: says("g", "b", true)}, false, "a " + here + " false not asked| " + elsewhere + " true "},
		"one that cannot join the group":                      {Member{Admin: elsewhere, Says: says("g", "", false)}, true, "a " + here + " false not asked| " + elsewhere + " true "},
	} {
		t.Run(sentence, func(t *testing.T) {
			var got []string
			for _, m := range named([]Member{{ID: "a", Admin: here, Silent: notAsked}}, []Member{c.asked}, "g", c.settled) {
				got = append(got, fmt.Sprint(m.ID, " ", m.Admin, " ", m.Says != nil, " ", m.Silent))
			}
			if text := strings.Join(got, "|"); text != c.want {
				t.Errorf("%q, want %q", text, c.want)
			}
		})
	}
}
