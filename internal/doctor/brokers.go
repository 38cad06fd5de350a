package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

// The checks of brokers.
const (
	CheckReachable   = "broker-reachable"
	CheckAdvertised  = "broker-advertised"
	CheckRelease     = "broker-release"
	CheckLacks       = "broker-lacks"
	CheckCertificate = "broker-certificate"
)

// reach asks for the layout of the cluster, and where nobody answers it asks each
// of kafka.brokers why.
func (p *patient) reach(ctx context.Context) (kafka.Layout, bool, []Finding) {
	layout, err := p.client.Layout(ctx, p.cfg.Topics.All()...)
	met := p.meetAll(ctx, p.cfg.Kafka.Brokers)
	var found []Finding
	severity := Danger
	if err == nil {
		severity = Warning // another one has answered
	}
	for i, address := range p.cfg.Kafka.Brokers {
		if why := met[i].err; why != nil {
			found = append(found, unreachable(severity, CheckReachable, "kafka.brokers "+address, why,
				"see whether the broker runs and listens there, and that kafka.tls and kafka.sasl are what that listener expects"))
		}
	}
	switch {
	case err == nil && found == nil:
		found = append(found, Finding{OK, CheckReachable, "kafka.brokers", fmt.Sprintf("all of them answer; cluster %s has %s", layout.ID, count(len(layout.Brokers), "broker")), ""})
	case err != nil && found == nil:
		found = append(found, Finding{Danger, CheckReachable, "kafka.brokers", "they take connections, and do not say what the cluster is: " + err.Error(), "see the brokers' logs"})
	}
	if err != nil {
		found = append(found, Finding{Note, CheckReachable, "topics, ACLs, group", "not examined: no broker has answered", "run this again when the brokers answer"})
	}
	return layout, err == nil, found
}

func unreachable(s Severity, check, subject string, err error, remedy string) Finding {
	f := Finding{s, check, subject, err.Error(), remedy}
	if explained, is := errors.AsType[*kafka.ExplainedError](err); is {
		f.Evidence, f.Remedy = explained.Problem, explained.Remedy
	}
	return f
}

type meeting struct {
	met kafka.Met
	err error
}

// meetAll connects to brokers side by side.
func (p *patient) meetAll(ctx context.Context, addresses []string) []meeting {
	all := make([]meeting, len(addresses))
	var under sync.WaitGroup
	for i, address := range addresses {
		under.Go(func() { all[i].met, all[i].err = p.client.Meet(ctx, address) })
	}
	under.Wait()
	return all
}

// exactlyOnceFrom is the first release that fences by a group's generation
// (KIP-447).
var exactlyOnceFrom = kafka.Release{2, 5}

// brokers connects to each one at the address that it advertises.
func (p *patient) brokers(ctx context.Context) (found []Finding) {
	var addresses []string
	for _, b := range p.layout.Brokers {
		addresses = append(addresses, b.Address)
	}
	met := p.meetAll(ctx, addresses)
	releases := make(map[kafka.Release]int)
	oldest := kafka.Release{}
	away := 0
	var lacking []kafka.Feature
	for i, b := range p.layout.Brokers {
		subject := fmt.Sprintf("broker %d, %s", b.ID, b.Address)
		if err := met[i].err; err != nil {
			away++
			remedy := fmt.Sprintf("this is what the broker says of itself: set advertised.listeners in its server.properties to an address that can be reached from here, or open the way to it; kafka.brokers (%s) leads to the cluster, and no further", strings.Join(p.cfg.Kafka.Brokers, ", "))
			found = append(found, unreachable(Danger, CheckAdvertised, subject, err, remedy))
			continue
		}
		release := met[i].met.Release
		lacking = append(lacking, met[i].met.Lacks...)
		if releases[release]++; oldest == (kafka.Release{}) || release.Before(oldest) {
			oldest = release
		}
		found = append(found, aboutChain(met[i].met.Chain, CheckCertificate, subject, "renew it at the broker, or that of its authority", time.Now())...)
	}
	if away == 0 {
		found = append(found, Finding{OK, CheckAdvertised, "brokers", count(len(addresses), "broker") + ", reached where they say that they are", ""})
	}
	if len(releases) == 0 {
		return found
	}
	text := "speak as Kafka " + oldest.String()
	if newest := newestOf(releases); newest != oldest {
		text = fmt.Sprintf("speak as Kafka %s up to %s", oldest, newest)
	}
	f := Finding{OK, CheckRelease, "brokers", text, ""}
	if p.cfg.ProcessingGuarantee == config.ExactlyOnce && oldest.Before(exactlyOnceFrom) {
		f.Severity = Danger
		f.Evidence += fmt.Sprintf(", and exactly_once needs %s", exactlyOnceFrom)
		f.Remedy = "upgrade the brokers, or set processing_guarantee to at_least_once"
	}
	return append(append(found, f), aboutLacks(lacking, p.cfg.Kafka.InstanceID)...)
}

// aboutLacks says what some broker does not have; of static members only to who
// wants to be one.
func aboutLacks(lacking []kafka.Feature, instanceID string) (found []Finding) {
	for _, l := range topics.Lacks(lacking) {
		f := Finding{Note, CheckLacks, string(l.Feature), l.Heading() + ": " + l.Consequence, l.WhatToDo()}
		if l.Feature == kafka.StaticMembers {
			if instanceID == "" {
				continue
			}
			f.Severity = Warning
		}
		found = append(found, f)
	}
	return found
}

func newestOf(releases map[kafka.Release]int) (newest kafka.Release) {
	for r := range releases {
		if newest.Before(r) {
			newest = r
		}
	}
	return newest
}

// ownCertificate looks at what this client shows of itself.
func (p *patient) ownCertificate(context.Context) []Finding {
	if p.to.TLS == nil || p.cfg.Kafka.TLS.CertFile == "" {
		return nil
	}
	cfg, err := p.to.TLS()
	if err != nil || len(cfg.Certificates) == 0 {
		return nil // said of the settings
	}
	var chain []*x509.Certificate
	for _, der := range cfg.Certificates[0].Certificate {
		if cert, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, cert)
		}
	}
	return aboutChain(chain, CheckCertificate, "kafka.tls.cert_file", "put a renewed one in its place: each new connection reads it", time.Now())
}

// renewWithin is how long before a certificate runs out somebody should know.
const renewWithin = 14 * 24 * time.Hour

// aboutChain says when the first of some certificates runs out; nothing of none.
func aboutChain(chain []*x509.Certificate, check, subject, remedy string, now time.Time) []Finding {
	if len(chain) == 0 {
		return nil
	}
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	text := fmt.Sprintf("%s, issued by %s, holds until %s", name(first.Subject.String()), name(first.Issuer.String()), first.NotAfter.UTC().Format(time.RFC3339))
	switch left := first.NotAfter.Sub(now); {
	case left < 0:
		return []Finding{{Danger, check, subject, text + ": it has run out", remedy}}
	case left < renewWithin:
		return []Finding{{Warning, check, subject, fmt.Sprintf("%s, for another %s", text, roughly(left)), remedy}}
	}
	return []Finding{{OK, check, subject, text, ""}}
}

func name(distinguished string) string {
	if distinguished == "" {
		return "a certificate without a name"
	}
	return distinguished
}

// roughly is a duration in days, or hours where it is short.
func roughly(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
	return fmt.Sprintf("%d hours", int(d.Hours()))
}
