package index

import (
	"context"
	"errors"
)

// Turn reads until the ends that the topics have now, as Run does.
func (x *Index) Turn(ctx context.Context) error {
	for {
		more, err := x.follow.turn(ctx)
		switch {
		case errors.Is(err, errDoubt), errors.Is(err, errStuck), errors.Is(err, errAgain):
			continue
		case err != nil || !more:
			return err
		}
	}
}

// Sweep has the next turn sweep.
func (x *Index) Sweep() { x.follow.swept = x.follow.swept.Add(-2 * sweepEvery) }

// Much sets from how many records on an index is filled without lookups, until the
// function that is returned is called.
func Much(n int64) func() {
	was := much
	much = n
	return func() { much = was }
}

// Dump is all that stands in the tables, without the numbers that are given in the
// order of reading.
func (x *Index) Dump(ctx context.Context) ([]string, error) { return dump(ctx, x.cfg.DB.Read) }

// Sure has the next turns take a topic that is too short for another one at once.
func Sure() func() {
	was := sureAfter
	sureAfter = 0
	return func() { sureAfter = was }
}
