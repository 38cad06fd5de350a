package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/sirupsen/logrus"
)

// lookAgain is how often a partition that is stopped at an unreadable batch is
// looked at again: its replica may be mended, its leader may move.
const lookAgain = time.Minute

// unreadable decides about records that cannot be read: with an operator's word
// they are given up, and reading goes on behind them; without it the partition
// is stopped, and the alarm is raised once. It returns where to go on, 0 for
// the same offset, and how long to wait before.
func (f *fetcher) unreadable(ctx context.Context, u *kafka.UnreadableError) (behind int64, wait time.Duration) {
	log := f.log.WithFields(logrus.Fields{"first": u.First, "last": u.Last, "reason": u.Reason})
	hint := ""
	for _, s := range f.skips {
		if s.First > u.First || s.Last < u.First || s.Last < u.Last {
			if s.Last >= u.First && s.First <= max(u.First, u.Last) {
				hint = fmt.Sprintf("; kafka.skip %s does not cover them", s)
			}
			continue
		}
		if behind = u.Last + 1; u.Last < 0 {
			// A position beyond the end would leave out what is yet to come.
			end, err := f.offset(ctx, kafka.LogEnd)
			if err != nil {
				log.WithError(err).Warn("cannot find out where the log ends, to skip what cannot be read: trying again")
				return 0, 2 * time.Second
			}
			behind = max(min(s.Last+1, end), u.First+1)
		}
		if f.skip(behind) != nil {
			return 0, 0 // intake has ended
		}
		log.WithField("skip", s.String()).
			Errorf("ALARM: %d offsets cannot be read and are skipped, as kafka.skip says: their requests are never served; find them with `closeorder audit`", behind-u.First)
		f.told = nil
		f.partition.stopped.Store(nil)
		return behind, 0
	}
	if f.told == nil || *f.told != *u {
		f.told = u
		stopped := u.Error()
		f.partition.stopped.Store(&stopped)
		text, last := "offsets", fmt.Sprint(u.Last)
		if u.Last < 0 {
			text, last = "offsets (nobody knows how many)", "LAST"
		}
		log.Errorf("ALARM: %s cannot be read: this partition is stopped there and looked at again each minute, the others go on. "+
			"To give these requests up, start with kafka.skip %s[%d]@%d-%s; what else can be done is in docs/operations.md, An unreadable batch%s",
			text, u.Topic, u.Partition, u.First, last, hint)
	}
	return 0, lookAgain
}

// readable ends the alarm of unreadable, if there was one.
func (f *fetcher) readable() {
	if f.told != nil {
		f.told = nil
		f.partition.stopped.Store(nil)
		f.log.Info("what could not be read can be read now: going on")
	}
}
