package world

import (
	"fmt"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// faultKind is a kind of [Fault]: how often it is drawn, how long it lasts,
// and what is done at its beginning and at its end.
type faultKind struct {
	name        string
	weight      int
	least, most time.Duration
	begin       func(r *run, f Fault) (end func(), err error)
}

// faultKinds has everything that a seed can let go wrong. A kind that is added
// changes what all seeds do.
var faultKinds = [...]faultKind{
	{"worker killed", 6, 2 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		slot := f.Target % len(r.slots)
		r.slots[slot].Kill()
		r.kills++
		return r.starts(slot), nil
	}},
	{"worker stopped", 4, 30 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		slot := f.Target % len(r.slots)
		r.slots[slot].stop()
		return r.starts(slot), nil
	}},
	{"worker killed and at once restarted", 3, 0, 0, func(r *run, f Fault) (func(), error) {
		slot := f.Target % len(r.slots)
		r.slots[slot].Kill()
		r.kills++
		return nil, r.start(slot)
	}},
	{"rebalance storm", 3, 10 * time.Second, 40 * time.Second, func(r *run, f Fault) (func(), error) {
		// Members join one after the other; they go at the end, half of them
		// without a word.
		var extra []*Worker
		for i := range 1 + f.N%3 {
			wk, err := r.world.StartWorker(fmt.Sprintf("guest-%d", i), r.tune(fmt.Sprintf("guest-%d", i)))
			if err != nil {
				return nil, err
			}
			extra = append(extra, wk)
		}
		return func() {
			for i, wk := range extra {
				if (f.Choice+i)%2 == 0 {
					wk.stop()
				} else {
					wk.Kill()
					r.kills++
				}
			}
		}, nil
	}},

	{"worker cut off from Kafka", 3, time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		name := r.slots[f.Target%len(r.slots)].Name
		return r.frozen(func(do func(Path)) {
			for i := range r.world.Kafka.Nodes() {
				do(r.world.Network.Between(name, BrokerName(i)))
			}
		}), nil
	}},
	{"Kafka's answers to a worker are lost", 2, time.Second, 90 * time.Second, func(r *run, f Fault) (func(), error) {
		name := r.slots[f.Target%len(r.slots)].Name
		return r.frozen(func(do func(Path)) {
			for i := range r.world.Kafka.Nodes() {
				do(r.world.Network.Way(BrokerName(i), name))
			}
		}), nil
	}},
	{"worker cut off from everybody", 2, time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		name := r.slots[f.Target%len(r.slots)].Name
		return r.frozen(func(do func(Path)) { do(r.world.Network.Between(name, "")) }), nil
	}},
	{"connections cut", 5, 0, 0, func(r *run, f Fault) (func(), error) {
		a := []string{"", r.slots[f.Target%len(r.slots)].Name, BrokerName(f.Target % r.world.Kafka.Nodes())}[f.Choice%3]
		r.world.Network.Between(a, "").Cut()
		return nil, nil
	}},
	{"one connection of a worker stands still", 5, time.Second, 90 * time.Second, func(r *run, f Fault) (func(), error) {
		some := r.world.Network.Requests(r.slots[f.Target%len(r.slots)].Name, requestsOf(f.Choice)...)
		some.Freeze()
		return func() {
			if f.N%2 == 0 {
				some.Cut()
			}
			some.Heal()
		}, nil
	}},
	{"the answers on one connection of a worker are lost", 5, time.Second, 90 * time.Second, func(r *run, f Fault) (func(), error) {
		some := r.world.Network.Requests(r.slots[f.Target%len(r.slots)].Name, requestsOf(f.Choice)...)
		some.FreezeAnswers()
		return func() {
			some.Cut()
			some.Heal()
		}, nil
	}},
	{"connections made anew", 2, 0, 0, func(r *run, f Fault) (func(), error) {
		for _, wk := range r.slots {
			wk.Renew()
		}
		return nil, nil
	}},
	{"worker killed and at once restarted, and the coordinator moves", 3, 2 * time.Second, 30 * time.Second, func(r *run, f Fault) (func(), error) {
		slot := f.Target % len(r.slots)
		r.slots[slot].Kill()
		r.kills++
		return func() { r.world.Kafka.MoveCoordinator(r.world.Config.Kafka.Group) }, r.start(slot)
	}},
	{"the worker that leads is killed", 3, 0, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		all := r.world.generations.list()
		for slot, wk := range r.slots {
			if len(all) > 0 && strings.HasPrefix(all[len(all)-1].Leader, wk.Name) {
				wk.Kill()
				r.kills++
				return r.starts(slot), nil
			}
		}
		return nil, nil
	}},
	{"all workers but one killed", 2, 0, time.Minute, func(r *run, f Fault) (func(), error) {
		stays := f.Target % len(r.slots)
		for slot, wk := range r.slots {
			if slot != stays {
				wk.Kill()
				r.kills++
			}
		}
		return func() {
			for slot := range r.slots {
				if slot != stays {
					r.note(r.start(slot))
				}
			}
		}, nil
	}},
	{"slow worker", 2, 10 * time.Second, 3 * time.Minute, func(r *run, f Fault) (func(), error) {
		path := r.world.Network.Between(r.slots[f.Target%len(r.slots)].Name, "")
		path.Slow(time.Duration(f.N*40)*time.Millisecond, 50_000)
		return path.Heal, nil
	}},

	{"a worker's clock is wrong", 2, 10 * time.Second, 5 * time.Minute, func(r *run, f Fault) (func(), error) {
		name := r.slots[f.Target%len(r.slots)].Name
		offset := time.Duration(f.N) * time.Minute
		if f.Choice%2 == 0 {
			offset = -offset
		}
		r.world.SetClock(name, offset)
		return func() { r.world.SetClock(name, 0) }, nil
	}},

	{"leaders moved", 4, 0, 0, func(r *run, f Fault) (func(), error) {
		for _, t := range r.world.Topics {
			for p := range t.Partitions {
				if err := r.world.Kafka.MoveLeader(t.Name, p, (p+f.Choice)%r.world.Kafka.Nodes()); err != nil {
					return nil, err
				}
			}
		}
		return nil, nil
	}},
	{"coordinator moved", 3, 0, 0, func(r *run, _ Fault) (func(), error) {
		r.world.Kafka.MoveCoordinator(r.world.Config.Kafka.Group)
		return nil, nil
	}},
	{"broker switched off", 3, time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		node := f.Target % r.world.Kafka.Nodes()
		r.world.takeDown(node)
		return r.world.Kafka.Broker(node).Heal, nil
	}},
	{"broker frozen", 3, time.Second, time.Minute, func(r *run, f Fault) (func(), error) {
		path := r.world.Kafka.Broker(f.Target % r.world.Kafka.Nodes())
		path.Freeze()
		return path.Heal, nil
	}},
	{"slow broker", 2, 10 * time.Second, 3 * time.Minute, func(r *run, f Fault) (func(), error) {
		path := r.world.Kafka.Broker(f.Target % r.world.Kafka.Nodes())
		path.Slow(time.Duration(f.N*30)*time.Millisecond, 100_000)
		return path.Heal, nil
	}},
	{"writes done and answered with an error", 5, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		err := []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend}[f.Choice%2]
		return r.brokerErrors(f, kmsg.Produce, r.workersTopic(f), err), nil
	}},
	{"writes refused", 4, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		err := []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.UnknownServerError, kerr.LeaderNotAvailable}[f.Choice%5]
		return r.brokerErrors(f, kmsg.Produce, r.workersTopic(f), err), nil
	}},
	{"commits done and answered with an error", 2, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		return r.brokerErrors(f, kmsg.OffsetCommit, "", kerr.RequestTimedOut), nil
	}},
	{"commits refused", 3, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		err := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.UnknownServerError, kerr.RebalanceInProgress}[f.Choice%4]
		return r.brokerErrors(f, kmsg.OffsetCommit, "", err), nil
	}},
	{"fetches refused", 2, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		err := []*kerr.Error{kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.UnknownServerError, kerr.FencedLeaderEpoch}[f.Choice%4]
		return r.brokerErrors(f, kmsg.Fetch, r.world.Config.Topics.Requests, err), nil
	}},
	{"heartbeats refused", 3, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		err := []*kerr.Error{kerr.NotCoordinator, kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.CoordinatorNotAvailable}[f.Choice%4]
		return r.brokerErrors(f, kmsg.Heartbeat, "", err), nil
	}},
	{"joins and syncs refused", 2, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		key := []kmsg.Key{kmsg.JoinGroup, kmsg.SyncGroup, kmsg.OffsetFetch, kmsg.FindCoordinator}[f.Choice%4]
		return r.brokerErrors(f, key, "", kerr.CoordinatorLoadInProgress), nil
	}},

	{"an order service leaves a transaction open", 3, 10 * time.Second, 3 * time.Minute, func(r *run, f Fault) (func(), error) {
		ended := make(chan struct{})
		r.background.Go(func() { r.shop.keep(r.shop.leavesOpen(f, ended)) })
		return func() { close(ended) }, nil
	}},
	{"requests of transactions refused", 4, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		key := transactional[f.Target%len(transactional)]
		err := []*kerr.Error{kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.ConcurrentTransactions, kerr.UnknownServerError}[f.Choice%5]
		return r.brokerErrors(f, key, "", err), nil
	}},
	{"offsets of transactions stored and answered with an error", 2, 20 * time.Second, 2 * time.Minute, func(r *run, f Fault) (func(), error) {
		return r.brokerErrors(f, kmsg.TxnOffsetCommit, "", kerr.RequestTimedOut), nil
	}},
	{"workers fenced", 3, 0, 0, func(r *run, f Fault) (func(), error) {
		// As by a second process with the same instance id: what is open is
		// aborted, and the epoch is another's.
		ids := r.world.producers.ids()
		r.background.Go(func() {
			for i, id := range ids {
				if (f.Choice+i)%2 == 0 {
					r.observer.fence(id)
				}
			}
		})
		return nil, nil
	}},
	{"connection cut in the middle of a transaction", 5, 10 * time.Second, time.Minute, func(r *run, f Fault) (func(), error) {
		return r.amid(r.slots[f.Target%len(r.slots)].Name, f, func(some *Requests) { some.Cut() }), nil
	}},
	{"worker killed in the middle of a transaction", 5, 0, time.Minute, func(r *run, f Fault) (func(), error) {
		slot := f.Target % len(r.slots)
		wk := r.slots[slot]
		r.kills++
		disarm := r.amid(wk.Name, f, func(*Requests) { wk.Kill() })
		return func() {
			disarm()
			r.note(r.start(slot))
		}, nil
	}},

	{"gateway away", 3, 10 * time.Second, 10 * time.Minute, func(r *run, f Fault) (func(), error) {
		r.outage(gatewaysim.AllHosts, f)
		return func() { r.world.Gateway.SetOutage(gatewaysim.AllHosts, gatewaysim.NoOutage) }, nil
	}},
	{"gateway away for an hour", 1, 50 * time.Minute, 70 * time.Minute, func(r *run, f Fault) (func(), error) {
		r.outage(gatewaysim.AllHosts, f)
		return func() { r.world.Gateway.SetOutage(gatewaysim.AllHosts, gatewaysim.NoOutage) }, nil
	}},
	{"gateway host away", 3, 10 * time.Second, 10 * time.Minute, func(r *run, f Fault) (func(), error) {
		host := GatewayName(f.Target % r.plan.GatewayHosts)
		r.outage(host, f)
		return func() { r.world.Gateway.SetOutage(host, gatewaysim.NoOutage) }, nil
	}},
	{"gateway host frozen", 2, 10 * time.Second, 3 * time.Minute, func(r *run, f Fault) (func(), error) {
		path := r.world.Gateway.Host(f.Target % r.plan.GatewayHosts)
		if f.Choice%2 == 0 {
			path = r.world.Network.Way(GatewayName(f.Target%r.plan.GatewayHosts), "")
		}
		path.Freeze()
		return path.Heal, nil
	}},
	{"slow gateway", 3, 10 * time.Second, 3 * time.Minute, func(r *run, f Fault) (func(), error) {
		slow := gatewaysim.Latency{Min: time.Second, Max: time.Duration(1+f.N) * time.Second, Jitter: time.Second}
		return func() { r.note(r.world.Gateway.SetLatency(r.plan.Gateway.Latency)) }, r.world.Gateway.SetLatency(slow)
	}},
	{"a merchant is refused", 3, 10 * time.Second, 5 * time.Minute, func(r *run, f Fault) (func(), error) {
		id := []string{"1900000109", "1900000110", "1900000111"}[f.Target%3]
		code := []string{"SIGNERROR", "NOAUTH", "APPID_NOT_EXIST"}[f.Choice%3]
		return func() { r.note(r.world.Gateway.Refuse(id, "")) }, r.world.Gateway.Refuse(id, code)
	}},
}

// requestsOf are the APIs that share a connection of a worker.
func requestsOf(choice int) []int16 {
	all := [][]int16{
		{kmsg.Heartbeat.Int16()},
		{kmsg.JoinGroup.Int16(), kmsg.SyncGroup.Int16()},
		{kmsg.SyncGroup.Int16()},
		{kmsg.Produce.Int16()},
		{kmsg.OffsetCommit.Int16()},
		{kmsg.Fetch.Int16()},
		{kmsg.FindCoordinator.Int16(), kmsg.Metadata.Int16()},
		{kmsg.InitProducerID.Int16(), kmsg.AddPartitionsToTxn.Int16(), kmsg.AddOffsetsToTxn.Int16(), kmsg.EndTxn.Int16()},
		{kmsg.TxnOffsetCommit.Int16()},
	}
	return all[choice%len(all)]
}

// frozen freezes what each passes on, and returns what heals it.
func (r *run) frozen(each func(do func(Path))) (end func()) {
	each(Path.Freeze)
	return func() { each(Path.Heal) }
}

// starts returns what starts the worker of a slot.
func (r *run) starts(slot int) func() { return func() { r.note(r.start(slot)) } }

func (r *run) outage(host string, f Fault) {
	r.world.Gateway.SetOutage(host, []gatewaysim.Outage{gatewaysim.OutageRefuse, gatewaysim.Outage5xx, gatewaysim.OutageFreeze}[f.Choice%3])
}

// workersTopic is one of the topics that workers write to.
func (r *run) workersTopic(f Fault) string {
	names := append([]string{r.world.Config.Topics.Outcomes, r.world.Config.Topics.Outcomes, r.world.Config.Topics.DeadLetters}, r.world.Config.Topics.Retries()...)
	return names[f.Target%len(names)]
}

// brokerErrors lets the next few requests be answered with an error, those of
// the observer excepted.
func (r *run) brokerErrors(f Fault, key kmsg.Key, topic string, err *kerr.Error) (end func()) {
	h := r.world.Kafka.Cluster().Fault(kfake.Fault{
		Keys: []kmsg.Key{key}, Topic: topic, Err: err, Count: 5 * f.N,
	})
	return func() {
		r.brokerHits += h.Hits()
		h.Remove()
	}
}
