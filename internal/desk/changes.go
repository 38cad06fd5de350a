package desk

import "context"

// changed: something did, for those who show it.
func (d *Desk) changed() { d.news.Change() }

// Changed waits until something changes after a version, and returns the new one; 0
// is before all. The error is the cause of ctx.
func (d *Desk) Changed(ctx context.Context, after uint64) (uint64, error) {
	return d.news.Changed(ctx, after)
}
