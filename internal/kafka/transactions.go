package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addoffsetstotxn"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/txnoffsetcommit"
)

// Transactions is a transactional producer (KIP-98): what it writes, and the
// offsets of a group (KIP-447), become visible to who reads committed at once,
// or never. There is one transaction at a time:
//
//	Begin --ProduceMany, Offsets--> Commit, or Abort where anything failed
//
// The broker that keeps the transactions of the id knows one producer, the last
// one that began: every other one is fenced, see [Fenced].
//
// ProduceMany may be called concurrently, for different partitions, and beside
// Offsets. Begin, Commit and Abort may not be called beside anything else, but
// for Abort beside a ProduceMany: what that one has under way is refused then.
type Transactions struct {
	client  *Client
	id      string
	timeout time.Duration
	adding  turn // held by who adds partitions or the group

	mu       sync.Mutex
	producer producer
	lines    *lines // of this producer id and epoch; nil before Begin and behind what has failed
	added    map[Place]bool
	group    string // whose offsets are part of the transaction
	open     bool   // the coordinator knows of the transaction
	// strays: a request of this epoch was given up, and may still come to a
	// coordinator. worn: it would come to the next transaction now, and end that
	// before its time, or begin one that nobody ends: the next one has another
	// epoch.
	strays, worn bool
	failed       error // it can only be aborted
}

// Transactions returns a transactional producer for a transactional id. A
// transaction that is open for longer than timeout is aborted by the
// coordinator, so that readers wait no longer for what has died. Nothing is asked
// yet.
func (c *Client) Transactions(id string, timeout time.Duration) *Transactions {
	return &Transactions{client: c, id: id, timeout: timeout, adding: newTurn()}
}

// ID is the transactional id.
func (t *Transactions) ID() string { return t.id }

// UnsureError says that nobody knows whether a transaction was committed: the
// answer to that was lost, and what came of asking again does not tell.
type UnsureError struct{ Err error }

func (e *UnsureError) Error() string {
	return "whether the transaction was committed is not known: " + e.Err.Error()
}
func (e *UnsureError) Unwrap() error { return e.Err }

// errNotBegun is the error of who writes without a transaction.
var errNotBegun = errors.New("no transaction has begun")

// Begin makes the producer ready: the first time, and after anything that has
// ended it. What a predecessor with the same id has left open is aborted, and it
// is fenced. It is tried until ctx ends, but for what lasts (see [Lasting]): no
// ACL for the transactional id, a timeout above the brokers'
// transaction.max.timeout.ms, brokers before Kafka 2.5. When the producer is
// ready, as after Commit, nothing is asked; so it is not if a request was given up
// that may still arrive: the next transaction has another epoch then, which
// ProduceMany and Offsets begin, too.
func (t *Transactions) Begin(ctx context.Context) error {
	t.mu.Lock()
	ready := t.lines != nil && t.failed == nil && !t.worn
	t.mu.Unlock()
	if ready {
		return nil
	}
	return t.init(ctx)
}

// Abort ends what is open, so that nobody who reads committed sees any of it,
// and begins a new epoch: what is under way of the old one is written no more.
// It is tried until ctx ends; Begin goes on with it then.
func (t *Transactions) Abort(ctx context.Context) error {
	t.mu.Lock()
	t.end(errNotBegun)
	t.mu.Unlock()
	return t.init(ctx)
}

// end lets the producer go. t.mu is held.
func (t *Transactions) end(why error) {
	t.lines, t.open, t.added, t.group, t.failed = nil, false, nil, "", why
	t.strays, t.worn = false, false
}

func (t *Transactions) init(ctx context.Context) error {
	if err := t.supported(ctx); err != nil {
		return err
	}
	err := t.persist(ctx, "InitProducerId", "", func(ctx context.Context) error {
		answer, err := t.client.RoundTrip(ctx, requestTimeout, &initproducerid.Request{
			TransactionalID: t.id, TransactionTimeoutMs: int32(t.timeout.Milliseconds()),
			ProducerID: -1, ProducerEpoch: -1, // whoever had it before
		})
		if err != nil {
			return err
		}
		given := answer.(*initproducerid.Response)
		if err := asError(given.ErrorCode); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.end(nil)
		t.producer = producer{given.ProducerID, given.ProducerEpoch}
		t.lines = newLines(t.client, t.id, t.producer)
		return nil
	})
	return err
}

// The first versions in which a group fences by its generation, and says that a
// commit is under way (Kafka 2.5, KIP-447).
const (
	commitFences  = 3
	fetchIsStable = 7
)

// supported looks whether the broker that coordinates the transactions can do
// what exactly once needs; that of the group is looked at in Offsets.
func (t *Transactions) supported(ctx context.Context) error {
	return t.persist(ctx, "FindCoordinator", "", func(ctx context.Context) error {
		return t.client.fences(ctx, group{t.id, 1})
	})
}

// fences returns an error that lasts where a coordinator is older than Kafka 2.5.
func (c *Client) fences(ctx context.Context, g group) error {
	for _, need := range []struct {
		api   protocol.ApiKey
		least int16
	}{{protocol.TxnOffsetCommit, commitFences}, {protocol.OffsetFetch, fetchIsStable}} {
		if version, err := c.transport.versionAt(ctx, g, need.api); err != nil {
			return err
		} else if version < need.least {
			return &ExplainedError{
				Operation: need.api.String(), Problem: fmt.Sprintf("the broker speaks it up to version %d, and exactly_once needs %d (Kafka 2.5)", version, need.least),
				Remedy: "upgrade the brokers, or set processing_guarantee to at_least_once", Err: kafkago.UnsupportedVersion,
			}
		}
	}
	return nil
}

// persist asks until it succeeds, fails for good, fences, or ctx ends. resource
// is what is asked about where that is not the transactional id.
func (t *Transactions) persist(ctx context.Context, operation, resource string, ask func(context.Context) error) error {
	if resource == "" {
		resource = "transactional id " + t.id
	}
	pause := NewPause(5*time.Millisecond, 500*time.Millisecond)
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("%s, %s: %w", operation, resource, context.Cause(ctx))
		}
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		if unanswered(err) {
			t.mu.Lock()
			t.strays = true
			t.mu.Unlock()
		}
		err = t.explain(err, operation, resource)
		switch {
		case Lasting(err) || Fenced(err) && operation != "InitProducerId": // who begins at the same time may fence
			return err
		case pause.Wait(ctx) != nil:
			return ended(ctx, err)
		}
	}
}

// unanswered reports whether an error is none that a broker has answered: what
// was asked may have been done, or be done yet.
func unanswered(err error) bool {
	_, answered := errors.AsType[kafkago.Error](err)
	return err != nil && !answered
}

func (t *Transactions) explain(err error, operation, resource string) error {
	if errors.Is(err, kafkago.TransactionalIDAuthorizationFailed) || errors.Is(err, kafkago.InvalidTransactionTimeout) {
		resource = "transactional id " + t.id
	}
	if operation == "FindCoordinator" && errors.Is(err, kafkago.GroupCoordinatorNotAvailable) {
		// On a new cluster that is so for a moment.
		err = fmt.Errorf("%w (if it stays so, the topic __transaction_state cannot be made: transaction.state.log.replication.factor of the brokers, 3 by default, must not be more than the cluster has brokers)", err)
	}
	explained := Explain(err, operation, resource)
	if _, is := errors.AsType[*ExplainedError](explained); is || err == nil {
		return explained
	}
	return fmt.Errorf("%s, %s: %w", operation, resource, err)
}

// fail takes note that the transaction of some lines can only be aborted, and
// returns why.
func (t *Transactions) fail(of *lines, why error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines == of && of != nil && t.failed == nil {
		t.failed = why
	}
	return why
}

// running is the producer of the transaction that is open, or may be.
func (t *Transactions) running() (*lines, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.failed != nil:
		return nil, t.failed
	case t.lines == nil:
		return nil, errNotBegun
	}
	return t.lines, nil
}

// ready is running, in another epoch where that of before must not go on.
func (t *Transactions) ready(ctx context.Context) (*lines, error) {
	ls, err := t.running()
	if err != nil || !t.isWorn() {
		return ls, err
	}
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	if err := t.adding.take(ctx); err != nil {
		return nil, err
	}
	defer t.adding.give()
	if t.isWorn() {
		if err := t.init(ctx); err != nil {
			return nil, err
		}
	}
	return t.running()
}

func (t *Transactions) isWorn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.worn
}

// ProduceMany is [Client.ProduceMany] in the transaction. Partitions that are
// new to it are added first, soon with them: those that it will write to later,
// so that one request does for all. Of soon, what there is not is passed over.
//
// A batch that failed may be tried again in the same transaction, unless Fenced
// says otherwise, but nothing else may be sent to its partition before it was
// acknowledged.
func (t *Transactions) ProduceMany(ctx context.Context, batches []Batch, soon []Place) []Produced {
	done := make([]Produced, len(batches))
	all := func(err error) []Produced {
		for i := range done {
			done[i] = Produced{Leader: NoLeader, Err: err}
		}
		return done
	}
	ls, err := t.ready(ctx)
	if err != nil {
		return all(err)
	}
	refused, err := t.add(ctx, ls, batches, soon)
	if err != nil {
		return all(t.failIfFenced(ls, err))
	}
	if len(refused) == 0 {
		done = ls.write(ctx, batches)
	} else {
		var some []Batch
		var at []int
		for i, b := range batches {
			if err, no := refused[Place{b.Topic, b.Partition}]; no {
				done[i] = Produced{Leader: NoLeader, Err: err}
			} else {
				some, at = append(some, b), append(at, i)
			}
		}
		for i, one := range ls.write(ctx, some) {
			done[at[i]] = one
		}
	}
	for _, one := range done {
		t.failIfFenced(ls, one.Err) //nolint:errcheck // it is in done
	}
	return done
}

func (t *Transactions) failIfFenced(ls *lines, err error) error {
	if Fenced(err) {
		return t.fail(ls, err)
	}
	return err
}

// missing are the partitions that the transaction lacks. Without any that is
// written to now, nothing is.
func (t *Transactions) missing(ls *lines, batches []Batch, soon []Place) (places []Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	added := t.added
	if t.lines != ls { // it was aborted meanwhile: what the next one has is not in this one
		added = nil
	}
	for _, b := range batches {
		if at := (Place{b.Topic, b.Partition}); !added[at] {
			places = append(places, at)
		}
	}
	if len(places) == 0 {
		return nil
	}
	for _, at := range soon {
		if !added[at] {
			places = append(places, at)
		}
	}
	slices.SortFunc(places, Place.compare)
	return slices.Compact(places)
}

// add adds the partitions of batches to the transaction, and returns those that
// the brokers do not let in, with their errors.
func (t *Transactions) add(ctx context.Context, ls *lines, batches []Batch, soon []Place) (refused map[Place]error, err error) {
	if len(t.missing(ls, batches, soon)) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, produceTimeout)
	defer cancel()
	if err := t.adding.take(ctx); err != nil {
		return nil, err
	}
	defer t.adding.give()
	places := t.missing(ls, batches, soon)
	for len(places) > 0 {
		var one map[Place]error
		err := t.persist(ctx, "AddPartitionsToTxn", "", func(ctx context.Context) (err error) {
			one, err = t.addPartitions(ctx, ls, places)
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(one) == 0 {
			break
		}
		// None is added where one is refused.
		left := places[:0]
		for _, at := range places {
			if err := one[at]; err == nil {
				left = append(left, at)
			} else {
				if refused == nil {
					refused = make(map[Place]error)
				}
				refused[at] = err
			}
		}
		if len(left) == len(places) {
			return nil, errors.New("the broker's answer to AddPartitionsToTxn is about partitions that were not asked for")
		}
		places = left
	}
	if len(places) == 0 {
		return refused, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines != ls {
		return nil, errNotBegun
	}
	if t.added == nil {
		t.added = make(map[Place]bool, len(places))
	}
	for _, at := range places {
		t.added[at] = true
	}
	t.open = true
	return refused, nil
}

// operationNotAttempted is the answer for partitions beside one that is refused.
const operationNotAttempted kafkago.Error = 55 // kafka-go calls it BrokerAuthorizationFailed

// addPartitions asks once. refused are those that are the reason for that
// nothing is added; an error is about the request as a whole.
func (t *Transactions) addPartitions(ctx context.Context, ls *lines, places []Place) (refused map[Place]error, err error) {
	t.sent(ls)
	req := &addpartitionstotxn.Request{TransactionalID: t.id, ProducerID: ls.current.id, ProducerEpoch: ls.current.epoch}
	for i, at := range places { // they are sorted
		if i == 0 || places[i-1].Topic != at.Topic {
			req.Topics = append(req.Topics, addpartitionstotxn.RequestTopic{Name: at.Topic})
		}
		topic := &req.Topics[len(req.Topics)-1]
		topic.Partitions = append(topic.Partitions, int32(at.Partition))
	}
	answer, err := t.client.RoundTrip(ctx, requestTimeout, req)
	if err != nil {
		return nil, err
	}
	spoken := 0
	refused = make(map[Place]error)
	for _, topic := range answer.(*addpartitionstotxn.Response).Results {
		for _, p := range topic.Results {
			spoken++
			code := kafkago.Error(p.ErrorCode)
			switch code {
			case 0, operationNotAttempted:
			case UnknownTopic, kafkago.TopicAuthorizationFailed, kafkago.InvalidTopic:
				refused[Place{topic.Name, int(p.PartitionIndex)}] = Explain(code, "AddPartitionsToTxn", "topic "+topic.Name)
			default:
				return nil, code
			}
		}
	}
	if spoken < len(places) {
		return nil, errors.New("the broker's answer leaves partitions out")
	}
	return refused, nil
}

// sent takes note that the coordinator may know of the transaction from now on.
func (t *Transactions) sent(ls *lines) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = t.open || t.lines == ls
}

// Offsets lets the offsets of a group be committed with the transaction, and
// returns an error for each, nil where it will be; or one error when nothing is
// known of any, or nothing can be committed: the answers are those of
// [Client.Commit]. Of one group only. It is tried until ctx ends.
func (t *Transactions) Offsets(ctx context.Context, m Membership, commits []Commit) (each []error, err error) {
	ls, err := t.ready(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.addGroup(ctx, ls, m.Group); err != nil {
		return nil, t.failIfFenced(ls, err)
	}
	req := &txnoffsetcommit.Request{
		TransactionalID: t.id, ProducerID: ls.current.id, ProducerEpoch: ls.current.epoch,
		GroupID: m.Group, GenerationID: m.Generation, MemberID: m.MemberID, GroupInstanceID: m.InstanceID,
	}
	topics := make(map[string]int) // where a topic stands in the request
	for _, commit := range commits {
		i, seen := topics[commit.Topic]
		if !seen {
			i = len(req.Topics)
			topics[commit.Topic] = i
			req.Topics = append(req.Topics, txnoffsetcommit.RequestTopic{Name: commit.Topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, txnoffsetcommit.RequestPartition{
			Partition: int32(commit.Partition), CommittedOffset: commit.Offset, CommittedMetadata: commit.Metadata,
			CommittedLeaderEpoch: -1, // as in Commit
		})
	}
	codes := make(map[Place]int16, len(commits))
	err = t.persist(ctx, "TxnOffsetCommit", "group "+m.Group, func(ctx context.Context) error {
		if err := t.client.fences(ctx, group{m.Group, 0}); err != nil {
			return err
		}
		answer, err := t.client.RoundTrip(ctx, requestTimeout, req)
		if err != nil {
			return err
		}
		for _, topic := range answer.(*txnoffsetcommit.Response).Topics {
			for _, p := range topic.Partitions {
				codes[Place{topic.Name, int(p.Partition)}] = p.ErrorCode
				if err := asError(p.ErrorCode); coordinatorBusy(err) {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, t.failIfFenced(ls, err)
	}
	each = make([]error, len(commits))
	for i, commit := range commits {
		code, answered := codes[Place{commit.Topic, commit.Partition}]
		if !answered {
			each[i] = errors.New("the broker's answer to TxnOffsetCommit lacks the partition")
		} else if code != 0 {
			resource := "topic " + commit.Topic
			if kafkago.Error(code) == kafkago.GroupAuthorizationFailed {
				resource = "group " + m.Group
			}
			each[i] = t.failIfFenced(ls, t.explain(asError(code), "TxnOffsetCommit", resource))
		}
	}
	return each, nil
}

// AddGroup adds a group to the transaction ahead of [Transactions.Offsets], which
// does so otherwise. It may be called beside ProduceMany. It is tried until ctx ends.
func (t *Transactions) AddGroup(ctx context.Context, name string) error {
	ls, err := t.running()
	if err != nil {
		return err
	}
	return t.failIfFenced(ls, t.addGroup(ctx, ls, name))
}

// addGroup adds a group to the transaction.
func (t *Transactions) addGroup(ctx context.Context, ls *lines, name string) error {
	if err := t.adding.take(ctx); err != nil {
		return err
	}
	defer t.adding.give()
	t.mu.Lock()
	added := t.group == name && t.lines == ls
	t.mu.Unlock()
	if added {
		return nil
	}
	return t.persist(ctx, "AddOffsetsToTxn", "group "+name, func(ctx context.Context) error {
		t.sent(ls)
		answer, err := t.client.RoundTrip(ctx, requestTimeout, &addoffsetstotxn.Request{
			TransactionalID: t.id, ProducerID: ls.current.id, ProducerEpoch: ls.current.epoch, GroupID: name,
		})
		if err != nil {
			return err
		}
		if err := asError(answer.(*addoffsetstotxn.Response).ErrorCode); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.lines == ls {
			t.group = name
		}
		return nil
	})
}

// Commit ends the transaction, so that all of it becomes visible; one that has
// nothing in it is ended without a word. It is tried until ctx ends.
//
// An *UnsureError says that it may have been committed or not. With any other
// error it is not: the producer is fenced, the coordinator has aborted it
// because it took too long, or what became of a batch is open. Begin and Abort
// make a new beginning after either.
func (t *Transactions) Commit(ctx context.Context) error {
	ls, err := t.running()
	if err != nil {
		return err
	}
	t.mu.Lock()
	open := t.open
	t.mu.Unlock()
	if !open {
		return nil
	}
	if at, open := ls.doubtful(); open {
		return t.fail(ls, fmt.Errorf("topic %s, partition %d: whether a batch arrived is not known: the transaction is not committed", at.Topic, at.Partition))
	}
	unsure := false
	err = t.persist(ctx, "EndTxn", "", func(ctx context.Context) error {
		answer, err := t.client.RoundTrip(ctx, requestTimeout, &endtxn.Request{
			TransactionalID: t.id, ProducerID: ls.current.id, ProducerEpoch: ls.current.epoch, Committed: true,
		})
		if err == nil {
			err = asError(answer.(*endtxn.Response).ErrorCode)
		}
		// A coordinator that answers so may have written it down all the same.
		unsure = unsure || unanswered(err) || err != nil && !Fenced(err) && !Lasting(err)
		return err
	})
	switch {
	case err == nil:
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open, t.added, t.group = false, nil, ""
		t.worn = t.strays
		return nil
	case unsure && !errors.Is(err, kafkago.InvalidTransactionState):
		// Who is fenced by then may have been so before or after. A transaction
		// that is none any more under its own epoch was aborted.
		err = &UnsureError{err}
	}
	return t.fail(ls, err)
}
