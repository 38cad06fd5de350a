package audit

import (
	"context"
	"fmt"
	"time"
)

// firstCommit is how long workers may have published without a commit: they
// commit at once, unless a broker is slow.
const firstCommit = 3 * time.Second

// CheckGroup finds out that the group is not that of the workers: requests were
// answered or put off, and it has committed nothing. Everything then counts as
// in flight, so that no hole can be seen: that proves nothing, must not look
// like a proof, and r is not balanced. Whoever knows the group need not ask.
// The error is of Kafka or the cause of ctx.
func (s *Snapshot) CheckGroup(ctx context.Context, r *Report) error {
	if r.Closed+r.Paid+r.Failed+r.Waiting+r.DeadLetters+r.OutcomesWithoutRequest.Sum() == 0 {
		return nil // no worker has done anything
	}
	for began := time.Now(); ; {
		committed, err := s.committed(ctx)
		switch {
		case err != nil || committed:
			return err
		case time.Since(began) >= firstCommit:
			r.Balanced = false
			r.Notes = append(r.Notes, fmt.Sprintf("requests were answered or put off, and not by group %s: this proves nothing; name the workers' group with --kafka-group", r.Group))
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}
