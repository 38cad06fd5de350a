package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/kafka/group"
	"github.com/sirupsen/logrus"
)

// Start says where to begin with a partition for which the group has no
// committed offset: the group is new, or its offsets were deleted or have
// expired.
//
// It is about topics of which the group has no position at all. Where it has
// one for another partition of the topic, a partition without was added later,
// or nothing was ever finished in it: it begins at the earliest, whatever
// Start says, because its records are new.
type Start string

const (
	// StartEarliest begins with the first record that the log still holds, and
	// says what that repeats.
	StartEarliest Start = "earliest"
	// StartLatest leaves out what is there, with an ALARM that names it.
	StartLatest Start = "latest"
	// StartError ends the worker where there is anything to repeat or to leave out.
	StartError Start = "error"
)

// decides reports whether the group only begins with a topic, by the number of
// positions that it has in it.
func (s Start) decides(positions int, generation int32) bool {
	// No partition was added in a group's first generation. Positions then are
	// those of another member that was quicker to begin at the end; with
	// StartError nobody begins before all is known to be empty.
	return positions == 0 || s == StartLatest && generation == 1
}

const (
	// tellWithin bounds how long what is known of some partitions waits to be
	// told together with the others.
	tellWithin = 15 * time.Second
	// dateWithin bounds how long the times of the first records are looked for.
	dateWithin = 3 * time.Second
)

// NoPositionError ends a worker that is set to StartError.
type NoPositionError struct {
	Group string
	// Held are the logs for which the group has no position, by topic and
	// partition, of all workers' partitions.
	Held []kafka.Span
	// Since is the time of the earliest record that is held; zero if unknown.
	Since time.Time
}

func (e *NoPositionError) Error() string {
	return fmt.Sprintf("group %s has no position for %s: %s. With kafka.start %s the worker ends here. "+
		"Set the group's offsets while no worker runs (kafka-consumer-groups --reset-offsets), "+
		"or choose kafka.start %s (all of it is served again, with the same event ids) or %s (none of it is ever served)",
		e.Group, holding(e.Held, e.Since), strings.Join(spanTexts(e.Held), ", "), StartError, StartEarliest, StartLatest)
}

// serveAll begins with partitions that are new to this worker, those of one
// assignment together, and reads each until it is taken away or the worker
// stops.
func (w *Worker) serveAll(fresh []*partition, gen group.Generation) {
	fresh, positions := w.positions(fresh, gen.Counts)
	var without []*partition
	first := make(map[string]bool) // topics that the group only begins with
	for _, p := range fresh {
		if from, ok := positions[p.topic][p.id]; ok {
			w.serve(p, from)
			continue
		}
		without = append(without, p)
		first[p.topic] = w.cfg.Start.decides(len(positions[p.topic]), gen.Generation)
	}
	if len(without) == 0 || w.cfg.Start == StartError && !w.mayBegin(without, first, gen.Counts) {
		return
	}
	w.beginWithout(without, first)
}

// positions asks until it is answered what the group has committed for the
// topics of fresh: for all of their partitions, as those of other workers show
// whether the group has read a topic before. It returns those of fresh that are
// still wanted, none when the worker stops.
func (w *Worker) positions(fresh []*partition, counts map[string]int) ([]*partition, map[string]map[int]kafka.Committed) {
	retry := kafka.NewPause(50*time.Millisecond, 2*time.Second)
	for failing := false; ; {
		if fresh = wanted(fresh); len(fresh) == 0 {
			return nil, nil
		}
		positions, err := w.committer.positions(w.life, allOf(fresh, counts))
		if err == nil || onlyOthersUnstable(err, fresh, positions) {
			return fresh, positions
		}
		cannotBegin(fresh, err)
		if !failing && w.life.Err() == nil {
			failing = true
			w.cfg.Log.WithError(err).Warn("cannot find out where to begin: trying again")
		}
		if retry.Wait(w.life) != nil {
			return nil, nil
		}
	}
}

// cannotBegin notes of partitions why nothing is read of them yet, until they are
// served.
func cannotBegin(ps []*partition, err error) {
	text := "it is not known where to begin"
	if err != nil {
		text += ": " + err.Error()
	}
	for _, p := range ps {
		p.fetchError.Store(&text)
	}
}

// onlyOthersUnstable reports whether an error says no more than that transactions
// of other workers are about to commit positions: under load one of them always
// is. Such a partition has a position, whichever.
func onlyOthersUnstable(err error, fresh []*partition, positions map[string]map[int]kafka.Committed) bool {
	unstable, is := errors.AsType[*kafka.UnstableError](err)
	if !is {
		return false
	}
	for _, at := range unstable.Places {
		if slices.ContainsFunc(fresh, func(p *partition) bool { return p.topic == at.Topic && p.id == at.Partition }) {
			return false
		}
	}
	for _, at := range unstable.Places {
		positions[at.Topic][at.Partition] = kafka.Committed{}
	}
	return true
}

// beginWithout begins with partitions for which the group has no position,
// each as soon as its log is known. What that repeats or leaves out is told
// once for all of them.
func (w *Worker) beginWithout(without []*partition, first map[string]bool) {
	began := time.Now()
	retry := kafka.NewPause(50*time.Millisecond, 2*time.Second)
	var found []extent
	for failing := false; len(without) > 0; {
		extents, err := w.extents(places(without))
		w.date(extents) // before the records are fetched to be served
		var left []*partition
		for _, p := range without {
			e, known := extents[p.topicPartition]
			if !known {
				left = append(left, p)
				continue
			}
			from := e.start
			if w.cfg.Start == StartLatest && first[p.topic] {
				from = e.end
			}
			w.serve(p, kafka.Committed{Offset: from})
			if from == e.end {
				// What comes from now on comes behind a position, also after a crash.
				w.committer.markDirty(p)
			}
			found = append(found, e)
		}
		if without = wanted(left); len(without) == 0 || time.Since(began) > tellWithin {
			w.tell(found, first)
			found = nil
		}
		if len(without) == 0 {
			return
		}
		cannotBegin(without, err)
		if !failing && w.life.Err() == nil {
			failing = true
			w.cfg.Log.WithError(err).WithField("partitions", len(without)).Warn("cannot find out where to begin: trying again")
		}
		if retry.Wait(w.life) != nil {
			return
		}
	}
}

// mayBegin is asked with StartError. It looks at all partitions of the topics
// that the group begins with, those of other workers too: otherwise one worker
// would begin with what is empty, and the next start of another would take its
// positions for a sign that all is well. It returns false where the worker
// stops, or now has to.
func (w *Worker) mayBegin(without []*partition, first map[string]bool, counts map[string]int) bool {
	retry := kafka.NewPause(50*time.Millisecond, 2*time.Second)
	var pending []topicPartition
	for topic, ids := range allOf(without, counts) {
		for _, id := range ids {
			if first[topic] {
				pending = append(pending, topicPartition{topic, id})
			}
		}
	}
	for failing := false; len(pending) > 0; {
		extents, err := w.extents(pending)
		w.date(extents)
		var held []extent
		for _, e := range extents {
			if e.records() > 0 {
				held = append(held, e)
			}
		}
		if len(held) > 0 {
			w.fail(&NoPositionError{Group: w.cfg.Group, Held: spans(held), Since: since(held)})
			return false
		}
		pending = slices.DeleteFunc(pending, func(at topicPartition) bool { _, known := extents[at]; return known })
		if len(pending) == 0 {
			break
		}
		cannotBegin(without, err)
		if !failing && w.life.Err() == nil {
			failing = true
			w.cfg.Log.WithError(err).WithField("partitions", len(pending)).Warn("cannot find out where to begin: trying again")
		}
		if retry.Wait(w.life) != nil {
			return false
		}
	}
	return true
}

// tell says, in one line for the requests and one for the retries, what it
// means that the group has no position.
func (w *Worker) tell(found []extent, first map[string]bool) {
	lines := make(map[line][]extent)
	for _, e := range found {
		if _, told := w.bare.LoadOrStore(e.topicPartition, true); !told && e.records() > 0 {
			l := line{first: first[e.topic], retries: e.topic != w.cfg.Topics.Requests}
			lines[l] = append(lines[l], e)
		}
	}
	for _, l := range []line{{true, false}, {true, true}, {false, false}, {false, true}} {
		held := lines[l]
		if len(held) == 0 {
			continue
		}
		text := "the group has no position for " + holding(spans(held), since(held))
		log := w.cfg.Log.WithFields(logrus.Fields{"group": w.cfg.Group, "topics": topicNames(held)})
		switch {
		case !l.first:
			log.Info(text + ": it has positions for other partitions, so these were added or never finished a request; all of it is served")
		case w.cfg.Start == StartLatest:
			log.WithField("left_out", spanTexts(spans(held))).
				Error("ALARM: " + text + ": kafka.start is latest, so these " + l.what() + " are never served; find their requests with `closeorder audit`")
		default:
			// What came when this worker was there already is nobody's past.
			level := logrus.WarnLevel
			if !since(held).Before(w.made) {
				level = logrus.InfoLevel
			}
			log.Logf(level, "%s: all %s are served, those that were finished before included; what is answered twice has the same event id. kafka.start says where a group begins", text, l.what())
		}
	}
}

// line is what partitions have in common that are told of together.
type line struct{ first, retries bool }

func (l line) what() string {
	if l.retries {
		return "retry records"
	}
	return "requests"
}

// extent is what can be read of the log of a partition: offsets from start up
// to, not including, end. What an open transaction holds back comes later, and is
// not in it.
type extent struct {
	topicPartition
	start, end int64
	first      time.Time // of the record at start; zero if unknown
}

// records is the number of records, or a little more: compaction and
// transactions leave offsets without one.
func (e extent) records() int64 { return e.end - e.start }

// extents asks how far logs reach: two requests to each broker, unless one of
// the partitions cannot be asked about. What is not known is left out, and the
// error says why.
func (w *Worker) extents(at []topicPartition) (known map[topicPartition]extent, err error) {
	if known, err = w.ask(at); err == nil {
		return known, nil
	}
	// One that fails is the failure of all in a request: it holds up no other.
	var mu sync.Mutex
	var each sync.WaitGroup
	known, err = make(map[topicPartition]extent), nil
	for _, one := range at {
		each.Go(func() {
			extents, failed := w.ask([]topicPartition{one})
			mu.Lock()
			defer mu.Unlock()
			if failed != nil {
				err = failed
			}
			maps.Copy(known, extents)
		})
	}
	each.Wait()
	return known, err
}

func (w *Worker) ask(at []topicPartition) (map[topicPartition]extent, error) {
	partitions := make(map[string][]int)
	for _, one := range at {
		partitions[one.topic] = append(partitions[one.topic], one.id)
	}
	// The start first: what comes in between is behind it. Records may be deleted
	// beyond the last stable offset.
	starts, err := w.client.Offsets(w.life, partitions, kafka.LogStart)
	if err != nil {
		return nil, err
	}
	ends, err := w.client.Offsets(w.life, partitions, w.client.End())
	if err != nil {
		return nil, err
	}
	known := make(map[topicPartition]extent, len(at))
	for _, one := range at {
		known[one] = extent{topicPartition: one, start: starts[one.topic][one.id], end: max(starts[one.topic][one.id], ends[one.topic][one.id])}
	}
	return known, nil
}

// date finds the times of the first records, as far as they can be read in time.
func (w *Worker) date(extents map[topicPartition]extent) {
	ctx, cancel := context.WithTimeout(w.life, dateWithin)
	defer cancel()
	var mu sync.Mutex
	var each sync.WaitGroup
	for at, e := range maps.Clone(extents) {
		if e.records() == 0 {
			continue
		}
		each.Go(func() {
			e.first = firstTime(ctx, w.client, e)
			mu.Lock()
			defer mu.Unlock()
			extents[at] = e
		})
	}
	each.Wait()
}

// since is the earliest time of a first record; zero where none is known.
func since(held []extent) (earliest time.Time) {
	for _, e := range held {
		if !e.first.IsZero() && (earliest.IsZero() || e.first.Before(earliest)) {
			earliest = e.first
		}
	}
	return earliest
}

// firstTime is the time of the first record of a log that holds some; zero
// where it has none, or cannot be read.
func firstTime(ctx context.Context, client *kafka.Client, e extent) time.Time {
	retry := kafka.NewPause(50*time.Millisecond, time.Second)
	for {
		records, _, err := client.Fetch(ctx, e.topic, e.id, e.start, 1, time.Second)
		if len(records) > 0 && records[0].Time.UnixMilli() > 0 {
			return records[0].Time
		}
		if _, unreadable := errors.AsType[*kafka.UnreadableError](err); err == nil || unreadable || retry.Wait(ctx) != nil {
			return time.Time{}
		}
	}
}

// holding names the number of partitions and of their records.
func holding(held []kafka.Span, since time.Time) string {
	var records int64
	for _, s := range held {
		records += s.Last - s.First + 1
	}
	text := fmt.Sprintf("%d partitions that hold %d records", len(held), records)
	if len(held) == 1 {
		text = fmt.Sprintf("1 partition that holds %d records", records)
	}
	if !since.IsZero() {
		text += " since " + since.UTC().Format(time.RFC3339)
	}
	return text
}

// spans are the offsets of logs that hold some, in order.
func spans(held []extent) []kafka.Span {
	all := make([]kafka.Span, len(held))
	for i, e := range held {
		all[i] = kafka.Span{Topic: e.topic, Partition: e.id, First: e.start, Last: e.end - 1}
	}
	slices.SortFunc(all, func(a, b kafka.Span) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return all
}

func spanTexts(all []kafka.Span) []string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.String()
	}
	return texts
}

func topicNames(held []extent) []string {
	names := make(map[string]bool)
	for _, e := range held {
		names[e.topic] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// allOf are all partitions of the topics of ps, by topic.
func allOf(ps []*partition, counts map[string]int) map[string][]int {
	all := make(map[string][]int)
	for _, p := range ps {
		for id := len(all[p.topic]); id < max(counts[p.topic], p.id+1); id++ {
			all[p.topic] = append(all[p.topic], id)
		}
	}
	return all
}

func places(ps []*partition) []topicPartition {
	at := make([]topicPartition, len(ps))
	for i, p := range ps {
		at[i] = p.topicPartition
	}
	return at
}

// wanted are the partitions whose records are still wanted here.
func wanted(ps []*partition) []*partition {
	return slices.DeleteFunc(slices.Clone(ps), func(p *partition) bool { return p.intake.Err() != nil })
}
