// Package doctor says whether it would be safe to run a worker with its settings,
// against its cluster and its gateway: what is wrong, what was seen of it, and
// what to do. It changes nothing, joins no group and concludes nothing about any
// order.
//
//	settings --> brokers -> topics, ACLs, transactions, group, positions, keys --> Report
//	        \--> hosts, clock, merchants ---------------------------------------/
//
// The checks run side by side, each for a bounded time, and what one of them cannot
// see takes nothing from the others.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Severity is how much a finding matters.
type Severity int

const (
	// OK: it was looked at, and nothing is wrong.
	OK Severity = iota
	// Note: nothing is wrong, and somebody may want to know it.
	Note
	// Warning: it works until something else fails, or for most and not for all; or
	// it could not be looked at.
	Warning
	// Danger: it would not be safe to run: requests or outcomes are lost, or
	// nothing is served.
	Danger
)

var severities = [...]string{OK: "ok", Note: "note", Warning: "warning", Danger: "danger"}

// String is as in a report: ok, note, warning, danger.
func (s Severity) String() string {
	if s < OK || s > Danger {
		return fmt.Sprintf("severity(%d)", int(s))
	}
	return severities[s]
}

// MarshalText returns the same as String.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that was looked at. It never holds a secret.
type Finding struct {
	Severity Severity `json:"severity"`
	// Check is the id by which docs/operations.md lists it: topic-retention.
	Check string `json:"check"`
	// Subject is what it is about: a topic, a broker, a merchant, a host.
	Subject string `json:"subject"`
	// Evidence is what was seen.
	Evidence string `json:"evidence"`
	// Remedy is a command, a setting or what else to do; empty for nothing.
	Remedy string `json:"remedy,omitempty"`
}

// Report is what was found, the worst first.
type Report struct {
	// Safe: there is no danger among the findings.
	Safe     bool      `json:"safe"`
	At       time.Time `json:"at"`
	Findings []Finding `json:"findings"`
}

// Count is how many findings have a severity.
func (r *Report) Count(s Severity) (n int) {
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Doctor examines one configuration. Make one with [New].
type Doctor struct {
	// Probe has the gateway asked in the name of each merchant about an order that
	// cannot exist.
	Probe bool
	// Timeout bounds each check, 0 for 15 s. The probes of merchants, which
	// may be many, are bounded one by one.
	Timeout time.Duration
	// OnStep, if set, is told of each of [Doctor.Steps] that is done. Calls may be
	// concurrent.
	OnStep func()
	// Now is the clock of this machine, nil for time.Now.
	Now func() time.Time

	cfg config.Config
	// kafka and gateway: those settings hold.
	kafka, gateway bool
	settings       []Finding
}

// New reads the settings by load, which is config.Load of some sections. What is
// wrong with them is a finding; the rest is examined as far as it can be.
func New(load func(sections ...config.Section) (config.Config, error)) *Doctor {
	d := &Doctor{}
	cfg, err := load(config.Everything()...)
	if err == nil {
		d.cfg, d.kafka, d.gateway = cfg, true, true
		d.settings = d.doubts(cfg)
		return d
	}
	d.settings = mistakes(err)
	// What is wrong elsewhere does not matter to looking.
	if cfg, err := load(config.Connection, config.TopicNames); err == nil {
		d.cfg, d.kafka = cfg, true
	} else if cfg, err := load(config.Logging); err == nil {
		d.cfg = cfg
	}
	if cfg, err := load(config.Calls); err == nil {
		d.gateway = true
		d.cfg.Gateway, d.cfg.Merchants, d.cfg.MerchantsFile = cfg.Gateway, cfg.Merchants, cfg.MerchantsFile
	}
	return d
}

// Steps is how many steps an examination has.
func (d *Doctor) Steps() int {
	n := len(d.gatewayChecks())
	if d.kafka {
		n += 1 + len((&patient{}).checks(d))
	}
	if d.gateway && d.Probe {
		n += len(d.cfg.Merchants)
	}
	return n
}

// check is one examination.
type check func(ctx context.Context) []Finding

// Examine makes all checks. It ends early with ctx.
func (d *Doctor) Examine(ctx context.Context) *Report {
	r := &Report{At: d.now(), Findings: slices.Clone(d.settings)}
	var mu sync.Mutex
	add := func(found []Finding) {
		mu.Lock()
		defer mu.Unlock()
		r.Findings = append(r.Findings, found...)
	}
	var all sync.WaitGroup
	for _, c := range d.gatewayChecks() {
		all.Go(func() { add(d.bounded(ctx, c)) })
	}
	if d.gateway && d.Probe {
		all.Go(func() { add(d.probe(ctx)) })
	}
	if d.kafka {
		all.Go(func() { d.examineKafka(ctx, add) })
	}
	all.Wait()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(int(b.Severity-a.Severity), cmp.Compare(order(a.Check), order(b.Check)), cmp.Compare(a.Subject, b.Subject))
	})
	r.Safe = r.Count(Danger) == 0
	return r
}

func (d *Doctor) now() time.Time {
	if d.Now != nil {
		return d.Now()
	}
	return time.Now()
}

// bounded makes one check.
func (d *Doctor) bounded(ctx context.Context, c check) []Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, d.timeout(), errTimeout)
	defer cancel()
	defer d.step()
	return c(ctx)
}

func (d *Doctor) timeout() time.Duration { return cmp.Or(d.Timeout, 15*time.Second) }

func (d *Doctor) step() {
	if d.OnStep != nil {
		d.OnStep()
	}
}

// errTimeout ends a check.
var errTimeout = errors.New("no answer within the time of this check")

// unseen is the finding of what could not be looked at. That an ACL for looking is
// missing is no fault of a worker, which can do without.
func unseen(ctx context.Context, check, subject string, err error) Finding {
	f := Finding{Warning, check, subject, "not examined: " + err.Error(), "see whether the brokers answer (broker-reachable), and run this again"}
	if explained, is := errors.AsType[*kafka.ExplainedError](err); is {
		f.Severity, f.Remedy = Note, explained.Remedy
		f.Evidence = "not examined: " + explained.Problem
	} else if ctx.Err() != nil {
		f.Evidence = "not examined: " + context.Cause(ctx).Error()
	}
	return f
}

// count is a number of things: 1 topic, 2 topics.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
