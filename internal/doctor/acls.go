package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/closeorder/closeorder/internal/kafka"
)

// The checks of ACLs.
const (
	CheckACLTopic      = "acl-topic"
	CheckACLGroup      = "acl-group"
	CheckACLIdempotent = "acl-idempotent-write"
)

var rightNames = map[kafka.Right]string{kafka.MayRead: "Read", kafka.MayWrite: "Write", kafka.MayDescribe: "Describe", kafka.MayDescribeConfigs: "DescribeConfigs"}

// acls asks what the worker's user may do. Brokers say it of topics and groups;
// what they do not say of is tried, and does no harm.
func (p *patient) acls(ctx context.Context) (found []Finding) {
	names := p.cfg.Topics
	told := 0
	for _, topic := range names.All() {
		t, there := p.layout.Topics[topic]
		if !there || !t.Rights.Known {
			continue
		}
		told++
		var needs []kafka.Right
		if topic == names.Requests || slices.Contains(names.Retries(), topic) {
			needs = append(needs, kafka.MayRead)
		}
		if topic != names.Requests {
			needs = append(needs, kafka.MayWrite)
		}
		found = append(found, lacks(CheckACLTopic, "topic", topic, t.Rights, needs)...)
	}
	if told > 0 && found == nil {
		found = append(found, Finding{OK, CheckACLTopic, "topics", fmt.Sprintf("what is read may be read, what is written may be written (%d topics)", told), ""})
	}
	group := p.cfg.Kafka.Group
	switch rights, err := p.client.GroupRights(ctx, group); {
	case err != nil:
		found = append(found, unseen(ctx, CheckACLGroup, "group "+group, err))
	case rights.Known:
		if lack := lacks(CheckACLGroup, "group", group, rights, []kafka.Right{kafka.MayRead}); lack != nil {
			found = append(found, lack...)
		} else {
			found = append(found, Finding{OK, CheckACLGroup, "group " + group, "it may be joined", ""})
		}
	default:
		found = append(found, Finding{Note, CheckACLGroup, "topics and group", "the brokers do not say what may be done (before Kafka 2.3)", "closeorder topics acls prints what is needed"})
	}
	if err := p.client.MayWriteOnce(ctx); err != nil {
		f := unseen(ctx, CheckACLIdempotent, "cluster", err)
		if explained := unreachable(Warning, CheckACLIdempotent, "cluster", err, ""); explained.Remedy != "" {
			f = explained
			f.Evidence += ": a batch that is tried again can be written twice"
		}
		return append(found, f)
	}
	return append(found, Finding{OK, CheckACLIdempotent, "cluster", "the brokers give producer ids: a batch that is tried again is written once", ""})
}

// lacks says which rights are missing.
func lacks(check, kind, name string, has kafka.Rights, needs []kafka.Right) []Finding {
	var missing []string
	for _, need := range needs {
		if !has.May(need) {
			missing = append(missing, rightNames[need])
		}
	}
	if missing == nil {
		return nil
	}
	return []Finding{{Danger, check, kind + " " + name, "the worker's user may not " + strings.Join(missing, " and "),
		fmt.Sprintf("kafka-acls.sh --add --allow-principal User:... --operation %s --%s %s; closeorder topics acls prints all that it needs", strings.Join(missing, " --operation "), kind, name)}}
}
