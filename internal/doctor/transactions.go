package doctor

import (
	"context"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/topics"
)

// The checks of transactions.
const (
	CheckTransactions   = "transactions"
	CheckACLTransaction = "acl-transactional-id"
)

// transactions looks at what exactly_once needs of the brokers.
func (p *patient) transactions(ctx context.Context) (found []Finding) {
	if p.cfg.ProcessingGuarantee != config.ExactlyOnce {
		return nil
	}
	layout, err := p.client.Layout(ctx, topics.StateLog)
	if err != nil {
		return []Finding{unseen(ctx, CheckTransactions, topics.StateLog, err)}
	}
	is := topics.Transactions{Brokers: len(layout.Brokers)}
	log, there := layout.Topics[topics.StateLog]
	if there && !log.Hidden {
		is.Log = &kafka.Topic{Name: topics.StateLog, Partitions: log.Partitions, Replication: log.Replication}
		settings, err := p.client.TopicSettings(ctx, []string{topics.StateLog}, topics.LookedAtStateLog())
		if err != nil {
			found = append(found, unseen(ctx, CheckTransactions, topics.StateLog, err))
		}
		is.Log.Settings = settings[topics.StateLog]
	}
	if is.Settings, err = p.client.BrokerSettings(ctx, topics.LookedAtBrokers()); err != nil {
		found = append(found, unseen(ctx, CheckTransactions, "cluster", err))
	}
	plan := is.Plan(p.cfg.Kafka.TransactionTimeout)
	f := Finding{OK, CheckTransactions, topics.StateLog, "it is as it must be", ""}
	switch {
	case plan.State == topics.Wrong:
		f = Finding{Danger, CheckTransactions, topics.StateLog, "not fit for exactly_once: " + plan.Note, "as it says; closeorder topics create shows it, too"}
	case plan.Note != "":
		f = Finding{Note, CheckTransactions, topics.StateLog, plan.Note, ""}
	}
	found = append(found, f)
	if !there {
		return append(found, Finding{Note, CheckACLTransaction, topics.TransactionalIDs(p.cfg.Kafka.Group), "not tried: the first transactional id makes " + topics.StateLog, ""})
	}
	return append(found, p.transactionalID(ctx))
}

// transactionalID asks for a producer of a transactional id that no worker has,
// and begins no transaction.
func (p *patient) transactionalID(ctx context.Context) Finding {
	id := topics.TransactionalIDs(p.cfg.Kafka.Group) + "doctor"
	subject := "transactional id " + id
	if err := p.client.Transactions(id, p.cfg.Kafka.TransactionTimeout).Begin(ctx); err != nil {
		return unreachable(Danger, CheckACLTransaction, subject, err, "closeorder topics acls prints what is needed; see also the brokers' logs")
	}
	return Finding{OK, CheckACLTransaction, subject, "the brokers give a producer for it", ""}
}
