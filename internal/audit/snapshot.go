package audit

import (
	"context"
	"strings"
	"time"

	"github.com/closeorder/closeorder/internal/backlog"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Snapshot is what is audited: the group's commits and a stretch of every
// topic.
type Snapshot struct {
	// At is when it was taken.
	At time.Time

	scope   Scope
	first   map[string]kafka.Offsets // where the logs begin
	from    map[string]kafka.Offsets // where reading begins
	to      map[string]kafka.Offsets // where it ends
	end     map[string]kafka.Offsets // the high watermarks
	commits backlog.Commits
	// compacted: outcomes may have been taken by compaction.
	compacted bool
}

// Take takes a snapshot while the workers run. It reads no record, and tries
// until the cluster answers or ctx ends. Topics that do not exist are all named
// in one *kafka.MissingTopicsError.
//
// The order of the questions makes a false hole impossible. A worker
// publishes what became of a record, waits for the acknowledgement of all
// in-sync replicas, and then finishes and commits the record's offset. So:
//
//  1. The starts of the logs come first. A log that begins above a commit
//     that is read later has lost records that nobody had read. The other
//     way round, a worker could read and commit on, and retention delete, in
//     between.
//  2. Then the commits. What they show as finished was published before this
//     moment, and that holds link by link: of a request its retry record, of
//     that the next one, of the last one the outcome. A link that is not
//     finished at this moment makes a request that waits, not a hole.
//  3. Then the ends of outcomes, retries and dead letters. They lie behind
//     all that the commits stand for. Asked for before the commits, they
//     would miss what was published and committed in between: false holes.
//     They are the high watermarks: of a transaction that is committed the
//     offsets may be seen before its outcomes are, as each log gets its marker
//     for itself.
//  4. The end of the requests comes last, so that no outcome below the ends
//     of step 3 answers a request that is not below this one. Requests from
//     between steps 2 and 4 are not finished by the commits: answered, or in
//     flight, never a hole.
//  5. At last what stands below the ends of step 3 must be there to read: the
//     last stable offsets are asked for until they lie behind those ends. A
//     transaction that is open for longer than [Scope.Settle] holds its partitions
//     back for all readers; what may stand there is unproven, and no hole.
//
// Within each step the order does not matter.
func Take(ctx context.Context, scope Scope) (*Snapshot, error) {
	s := &Snapshot{
		At: time.Now(), scope: scope,
		first: map[string]kafka.Offsets{}, from: map[string]kafka.Offsets{}, to: map[string]kafka.Offsets{}, end: map[string]kafka.Offsets{},
	}
	t := scope.Topics
	if err := scope.Reader.Exist(ctx, t.All()...); err != nil {
		return nil, err
	}
	for _, topic := range t.All() {
		if err := s.begin(ctx, topic); err != nil {
			return nil, err
		}
	}
	var err error
	if s.commits, err = s.readCommits(ctx); err != nil {
		return nil, err
	}
	made := append([]string{t.Outcomes, t.DeadLetters}, t.Retries()...) // by workers
	for _, topic := range made {
		if s.end[topic], err = s.highWatermarks(ctx, topic); err != nil {
			return nil, err
		}
	}
	// The high watermark first: what lies between the two is held back.
	if s.end[t.Requests], err = s.highWatermarks(ctx, t.Requests); err != nil {
		return nil, err
	}
	if s.to[t.Requests], err = scope.Reader.End(ctx, t.Requests); err != nil {
		return nil, err
	}
	for partition, to := range s.to[t.Requests] {
		s.end[t.Requests][partition] = max(s.end[t.Requests][partition], to)
	}
	if err := s.settle(ctx, made); err != nil {
		return nil, err
	}
	// Who may not see it is told nothing: it is for a note alone.
	policy, _ := scope.Reader.Client.TopicSetting(ctx, t.Outcomes, "cleanup.policy")
	s.compacted = strings.Contains(policy, "compact")
	return s, nil
}

// begin finds out where a log begins, and where reading begins.
func (s *Snapshot) begin(ctx context.Context, topic string) error {
	first, err := s.scope.Reader.First(ctx, topic)
	if err != nil {
		return err
	}
	s.first[topic], s.from[topic] = first, first
	if from, ok := s.scope.From[topic]; ok {
		s.from[topic] = from
		return nil
	}
	since := s.scope.Since
	if since.IsZero() {
		return nil
	}
	if topic != s.scope.Topics.Requests {
		since = since.Add(-clockSlack)
	}
	s.from[topic], err = s.scope.Reader.At(ctx, topic, since)
	return err
}

// Records is about how many records Audit reads, if it finds nothing.
func (s *Snapshot) Records() int64 {
	var n int64
	for topic, from := range s.from {
		n += from.Until(s.to[topic])
	}
	return n
}
