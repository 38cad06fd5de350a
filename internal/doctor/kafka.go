package doctor

import (
	"context"
	"sync"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

// patient is a cluster that answers.
type patient struct {
	cfg    config.Config
	to     kafka.Config
	client *kafka.Client
	layout kafka.Layout
}

// examineKafka looks whether the cluster answers, and then at all else of it.
func (d *Doctor) examineKafka(ctx context.Context, add func([]Finding)) {
	to, err := d.cfg.Kafka.Client(nil)
	if err != nil {
		add([]Finding{{Danger, CheckSettings, "kafka.sasl", err.Error(), "set it right: a worker does not start with it"}})
		return
	}
	p := &patient{cfg: d.cfg, to: to, client: kafka.Open(to, append(d.cfg.Topics.All(), topics.StateLog)...)}
	defer p.client.Close()
	answers := false
	add(d.bounded(ctx, func(ctx context.Context) []Finding {
		var found []Finding
		p.layout, answers, found = p.reach(ctx)
		return found
	}))
	checks := p.checks(d)
	if !answers {
		for range checks {
			d.step()
		}
		return
	}
	var all sync.WaitGroup
	for _, c := range checks {
		all.Go(func() { add(d.bounded(ctx, c)) })
	}
	all.Wait()
}

// checks are those of a cluster that answers.
func (p *patient) checks(*Doctor) []check {
	return []check{p.brokers, p.ownCertificate, p.token, p.topics, p.acls, p.transactions, p.group, p.coordinator, p.positions, p.keys}
}
