package world

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producers knows the transactional ids of the workers by their requests: an
// own one each, which begins with the group (KIP-447).
type producers struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

// watchProducers begins to listen.
func watchProducers(c *kfake.Cluster, group string) *producers {
	p := &producers{seen: make(map[string]time.Time)}
	c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn}, Count: -1, Observe: true,
		When: func(r kmsg.Request) bool {
			switch r := r.(type) {
			case *kmsg.InitProducerIDRequest:
				if r.TransactionalID != nil {
					p.saw(group, *r.TransactionalID)
				}
			case *kmsg.AddPartitionsToTxnRequest:
				p.saw(group, r.TransactionalID)
			case *kmsg.EndTxnRequest:
				p.saw(group, r.TransactionalID)
			}
			return false
		},
	})
	return p
}

func (p *producers) saw(group, id string) {
	if !strings.HasPrefix(id, group+"-") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[id] = time.Now()
}

// ids are those that were heard of within the last minute, in alphabetical
// order.
func (p *producers) ids() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var ids []string
	for id, at := range p.seen {
		if time.Since(at) < time.Minute {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
