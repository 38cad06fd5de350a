// Package status is the whole of a deployment at one moment, for one screen: who
// is in the group and what each member says of itself, what waits and why, and what
// has failed lately. It reads; it joins no group and writes nothing.
//
//	group: members -> their admin listeners -> what each says
//	topics: commits and ends -> backlog; outcomes of the last hour -> failures
package status

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/admin"
	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
)

// Scope says of what.
type Scope struct {
	Reader *kafka.Reader
	Group  string
	Topics config.Topics
	// Since is from when on outcomes are counted.
	Since time.Time
	// Admins are the admin addresses to ask, as URLs or host:port, instead of those
	// that members tell. Who is in the group only the group says: see named.
	Admins []string
	// Piles is how many piles of what waits are listed, 0 for all.
	Piles int
	// LagOnly: what is not finished is not read, and Waiting, By, Rest and InFlight
	// stay empty. What such a look costs does not grow with the backlog.
	LagOnly bool
	// OnTotal is told once how many records there are to read, about, and OnRead of
	// each that was; either may be nil.
	OnTotal func(n int64)
	OnRead  func(n int)
}

// Report is what was found. As JSON its names are stable; times are in UTC.
type Report struct {
	At    time.Time `json:"at"`
	Group string    `json:"group"`
	// State is the group's: Stable, PreparingRebalance, Empty, Dead; empty where
	// nobody may say.
	State   string   `json:"state"`
	Members []Member `json:"members"`
	Topics  []Topic  `json:"topics"`

	Waiting  backlog.Pile   `json:"waiting"`
	By       []backlog.Pile `json:"waiting_by"`
	Rest     backlog.Pile   `json:"waiting_rest,omitzero"`
	InFlight backlog.Pile   `json:"in_flight"`

	// Since, and what was answered since then; Failures are the failed ones, the
	// most frequent first.
	Since    time.Time `json:"since"`
	Closed   int64     `json:"closed"`
	Paid     int64     `json:"paid"`
	Failed   int64     `json:"failed"`
	Failures []Failure `json:"failures"`

	// Wrong says in words what is wrong, the worst first. Nothing: all is well, as
	// far as could be seen. Unseen says what could not be.
	Wrong  []string `json:"wrong"`
	Unseen []string `json:"unseen"`
}

// Member is one of the group's, or one that was asked for by its address.
type Member struct {
	ID         string `json:"member_id,omitempty"`
	InstanceID string `json:"instance_id,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	Host       string `json:"host,omitempty"`
	// Foreign: it is no closeorder.
	Foreign bool   `json:"foreign,omitempty"`
	Admin   string `json:"admin,omitempty"`
	// Assigned are its partitions, by topic.
	Assigned map[string][]int `json:"assigned"`
	// Says is what its admin listener answers; nil with Silent, why it does not.
	Says   *admin.Status `json:"says,omitempty"`
	Silent string        `json:"silent,omitempty"`
}

// Topic is one that the workers read.
type Topic struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	// Lag is how many offsets are not finished.
	Lag int64 `json:"lag"`
	// Unowned are the partitions that no member has, where members tell.
	Unowned []int `json:"unowned"`
}

// Failure counts failed requests by code.
type Failure struct {
	Code      string    `json:"code"`
	Count     int64     `json:"count"`
	Merchants int       `json:"merchants"`
	Latest    time.Time `json:"latest"`
	// MchID and OutTradeNo are those of the latest one, Message is what it says.
	MchID      string `json:"mch_id"`
	OutTradeNo string `json:"out_trade_no"`
	Message    string `json:"message"`
}

// Bounds of what is told apart, as producers name merchants and gateways codes.
const (
	mostCodes     = 200
	mostMerchants = 1000
)

// Look looks at all of it, side by side. An error is of Kafka, or the cause of
// ctx; of members that do not answer, and of a group that may not be described, the
// report says so.
func Look(ctx context.Context, scope Scope) (*Report, error) {
	r := &Report{At: time.Now().UTC(), Group: scope.Group, Since: scope.Since.UTC(), Members: []Member{}, Topics: []Topic{}, By: []backlog.Pile{}, Failures: []Failure{}, Wrong: []string{}, Unseen: []string{}}
	positions, err := backlog.Take(ctx, backlog.Scope{Reader: scope.Reader, Group: scope.Group, Topics: scope.Topics, OnRead: scope.OnRead})
	if err != nil {
		return nil, err
	}
	answers, err := outcomesSince(ctx, scope)
	if err != nil {
		return nil, err
	}
	if scope.OnTotal != nil {
		scope.OnTotal(positions.Records() + answers.from.Until(answers.to))
	}
	var doing sync.WaitGroup
	var openErr, answerErr error
	told := false
	doing.Go(func() { told = r.members(ctx, scope) })
	if !scope.LagOnly {
		doing.Go(func() { openErr = r.open(ctx, scope, positions) })
	}
	doing.Go(func() { answerErr = r.answers(ctx, scope, answers) })
	doing.Wait()
	if err := errors.Join(openErr, answerErr); err != nil {
		return nil, err
	}
	for _, topic := range append([]string{scope.Topics.Requests}, scope.Topics.Retries()...) {
		t := Topic{Topic: topic, Partitions: len(positions.End[topic]), Lag: positions.Lag(topic), Unowned: []int{}}
		for id := range t.Partitions {
			if told && !slices.ContainsFunc(r.Members, func(m Member) bool { return slices.Contains(m.Assigned[topic], id) }) {
				t.Unowned = append(t.Unowned, id)
			}
		}
		r.Topics = append(r.Topics, t)
	}
	r.judge(told)
	return r, nil
}

// members asks the group who is in it, and each for what it says of itself. told:
// members have said what they own.
func (r *Report) members(ctx context.Context, scope Scope) (told bool) {
	is, err := group.Describe(ctx, scope.Reader.Client, scope.Group)
	if err != nil {
		r.Unseen = append(r.Unseen, "who is in the group: "+err.Error())
	}
	r.State = is.State
	for _, f := range is.Members {
		m := Member{
			ID: f.ID, InstanceID: f.InstanceID, ClientID: f.ClientID, Host: strings.TrimPrefix(f.Host, "/"), Admin: f.Admin,
			Foreign: is.Told && !f.Ours, Assigned: f.Assigned,
		}
		switch {
		case len(scope.Admins) > 0:
			m.Silent = "not asked: the addresses that were named are of others"
		case !is.Told:
			m.Silent = "while the group rebalances its members do not say where they can be asked"
		case m.Foreign:
			m.Silent = "it is no closeorder"
		case f.Admin == "":
			m.Silent = "it serves no admin address (admin_addr)"
		case isLoopback(f.Admin) && !f.SameMachine:
			m.Silent = fmt.Sprintf("it can be asked on its own machine alone (http://%s/statusz at %s): look there, or set its admin_addr to an address that others reach", f.Admin, m.Host)
		}
		r.Members = append(r.Members, m)
	}
	members := len(r.Members)
	for _, address := range scope.Admins {
		r.Members = append(r.Members, Member{Admin: strings.TrimPrefix(address, "http://")})
	}
	var asking sync.WaitGroup
	for i := range r.Members {
		m := &r.Members[i]
		if m.Silent != "" {
			continue
		}
		asking.Go(func() {
			says, err := ask(ctx, m.Admin)
			if err != nil {
				m.Silent = err.Error()
				return
			}
			m.Says = says
		})
	}
	asking.Wait()
	r.Members = named(r.Members[:members:members], r.Members[members:], scope.Group, err == nil && !strings.HasSuffix(is.State, "Rebalance"))
	return is.Told && is.State == "Stable"
}

// named gives the members of a group what the workers at addresses that were named
// say. A worker is the member of its member id; one that does not answer, the member
// of its address. The others stand behind the members. A worker of another group
// counts for nothing here; nor, where it is settled who is in the group, one that
// says that it has joined and is none of them: it may be of another cluster.
func named(members, asked []Member, group string, settled bool) []Member {
	for _, a := range asked {
		knows := a.Says != nil && a.Says.Stuck == ""
		i := slices.IndexFunc(members, func(m Member) bool {
			if knows {
				return m.ID != "" && m.ID == a.Says.State.Member.MemberID
			}
			return m.ID != "" && m.Admin == a.Admin && !isLoopback(m.Admin)
		})
		switch {
		case i >= 0:
			members[i].Admin, members[i].Says, members[i].Silent = a.Admin, a.Says, a.Silent
			continue
		case knows && a.Says.State.Group != group:
			a.Says, a.Silent = nil, fmt.Sprintf("it is a worker of group %q", a.Says.State.Group)
		case knows && settled && a.Says.State.Member.Joined:
			a.Says, a.Silent = nil, "it is none of the group's members here: it comes or goes at this moment, or it is of another cluster"
		}
		members = append(members, a)
	}
	return members
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

const (
	// askWithin is how long a member may take to answer: one that is stopped, or
	// behind a network that drops packets, must not hold up the others.
	askWithin = 2 * time.Second
	// mostSaid bounds what one may say.
	mostSaid = 8 << 20
)

// asker goes through no proxy: members are inside.
var asker = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// ask asks an admin listener what its worker does.
func ask(ctx context.Context, address string) (*admin.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	u := url.URL{Scheme: "http", Host: address, Path: "/statusz", RawQuery: "format=json"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%q is no admin address", address)
	}
	resp, err := asker.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no answer of http://%s within %v: it is stopped, stuck, or behind a firewall", address, askWithin)
	case err != nil:
		return nil, fmt.Errorf("no answer of http://%s: %w", address, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	var is admin.Status
	if err := json.NewDecoder(io.LimitReader(resp.Body, mostSaid)).Decode(&is); err != nil {
		return nil, fmt.Errorf("http://%s answers %s, and not as a worker does", address, resp.Status)
	}
	return &is, nil
}

// open counts what is not finished.
func (r *Report) open(ctx context.Context, scope Scope, positions *backlog.Positions) error {
	var waiting backlog.Summary
	counted := make(map[events.Source]bool)
	err := positions.Each(ctx, func(o backlog.Open) error {
		if o.Waiting {
			if len(counted) < mostCounted {
				counted[o.Source] = true
			}
			waiting.Add(cmp.Or(o.Code, "UNREADABLE"), o.Order.MchID, o.Requested, o.Due)
			return nil
		}
		if !counted[o.Source] { // else its retry record is there, and its commit was not yet
			r.InFlight.Add(1, o.Requested, time.Time{})
		}
		return nil
	})
	r.Waiting = waiting.All()
	r.By, r.Rest = waiting.Piles(scope.Piles)
	return err
}

// mostCounted bounds the requests that are remembered so as not to count them
// twice: it is about a moment of work.
const mostCounted = 100_000

// span is a part of a topic.
type span struct{ from, to kafka.Offsets }

func outcomesSince(ctx context.Context, scope Scope) (s span, err error) {
	topic := scope.Topics.Outcomes
	if s.from, err = scope.Reader.At(ctx, topic, scope.Since); err != nil {
		return s, err
	}
	s.to, err = scope.Reader.End(ctx, topic)
	return s, err
}

// answers counts what was answered.
func (r *Report) answers(ctx context.Context, scope Scope, s span) error {
	type kind struct {
		Failure
		merchants map[string]bool
	}
	kinds := make(map[string]*kind)
	seen := make(map[string]bool) // event ids of failures: with at least once some come again
	err := scope.Reader.Read(ctx, scope.Topics.Outcomes, s.from, s.to, func(rec kafka.Record) error {
		if scope.OnRead != nil {
			scope.OnRead(1)
		}
		o, err := events.DecodeOutcome(rec.Message)
		if err != nil || rec.Time.Before(scope.Since) {
			return nil //nolint:nilerr // audit counts those
		}
		switch o.Result {
		case events.Closed:
			r.Closed++
			return nil
		case events.Paid:
			r.Paid++
			return nil
		}
		if seen[o.ID] {
			return nil
		}
		if len(seen) < mostCounted {
			seen[o.ID] = true
		}
		r.Failed++
		k := kinds[o.Code]
		if k == nil {
			code := o.Code
			if len(kinds) >= mostCodes {
				code = "others"
			}
			if k = kinds[code]; k == nil {
				k = &kind{Failure: Failure{Code: code}, merchants: make(map[string]bool)}
				kinds[code] = k
			}
		}
		k.Count++
		if len(k.merchants) < mostMerchants {
			k.merchants[o.MchID] = true
		}
		if !rec.Time.Before(k.Latest) {
			k.Latest, k.MchID, k.OutTradeNo, k.Message = rec.Time.UTC(), o.MchID, o.OutTradeNo, o.Message
		}
		return nil
	})
	for _, k := range kinds {
		k.Merchants = len(k.merchants)
		r.Failures = append(r.Failures, k.Failure)
	}
	slices.SortFunc(r.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Code, b.Code))
	})
	return err
}

// judge says what is wrong.
func (r *Report) judge(told bool) {
	wrong := func(format string, args ...any) { r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...)) }
	ours, inGroup := 0, 0 // without those that were asked for by their address
	for _, m := range r.Members {
		if m.ID == "" {
			continue
		}
		inGroup++
		if !m.Foreign {
			ours++
		}
	}
	switch {
	case inGroup == 0 && len(r.Unseen) == 0:
		wrong("nobody serves: group %s has no member; start a worker (closeorder run)", r.Group)
	case ours == 0 && inGroup > 0:
		wrong("nobody serves: the members of group %s are no closeorder; give them a group of their own", r.Group)
	}
	for _, t := range r.Topics {
		if len(t.Unowned) > 0 && inGroup > 0 && told {
			wrong("%d partitions of %s have no owner: nobody reads them", len(t.Unowned), t.Topic)
		}
	}
	for _, m := range r.Members {
		name := m.Name()
		switch {
		case m.Says == nil && m.Admin != "" && !m.Foreign && strings.HasPrefix(m.Silent, "no answer"):
			wrong("%s: %s", name, m.Silent)
		case m.Says == nil:
		case m.Says.Stuck != "":
			wrong("%s is stuck: %s", name, m.Says.Stuck)
		case !m.Says.State.Health.Live:
			wrong("%s is stuck: %s", name, strings.Join(m.Says.State.Health.Stuck, "; "))
		case !m.Says.State.Health.Ready && !m.Says.Stopping:
			wrong("%s is not ready: %s", name, strings.Join(m.Says.State.Health.NotReady, "; "))
		}
	}
}

// Name is what people call a member.
func (m Member) Name() string { return cmp.Or(m.InstanceID, m.Admin, m.ID) }

// Partitions is how many it has.
func (m Member) Partitions() (n int) {
	for _, ids := range m.Assigned {
		n += len(ids)
	}
	return n
}
