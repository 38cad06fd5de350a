package deadletters

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// errOriginalGone: a dead letter has no value, and the original can no longer
// be had.
var errOriginalGone = errors.New("the dead letter has no value, and the original")

// restore puts the value that a dead letter had to leave out back into it: it
// is read where the request stands, and the record there must be the very one
// that the dead letter tells of. The error wraps errOriginalGone, or is of
// Kafka.
func restore(ctx context.Context, r *kafka.Reader, l *Letter) error {
	if l.ValueOmitted == "" {
		return nil
	}
	rec, err := get(ctx, r, l.Source)
	var missing *MissingError
	var topic *kafka.MissingTopicsError
	switch {
	case errors.As(err, &missing), errors.As(err, &topic):
		return fmt.Errorf("%w cannot be read: %w", errOriginalGone, err)
	case err != nil:
		return err
	case !l.KeyOmitted() && !bytes.Equal(rec.Key, l.Original.Key):
		return fmt.Errorf("%w has another key at %s, partition %d, offset %d", errOriginalGone, l.Source.Topic, l.Source.Partition, l.Source.Offset)
	case !l.HeadersOmitted() && !slices.EqualFunc(rec.Headers, l.Original.Headers, sameHeader):
		return fmt.Errorf("%w has other headers at %s, partition %d, offset %d", errOriginalGone, l.Source.Topic, l.Source.Partition, l.Source.Offset)
	case !l.SourceTimestamp.IsZero() && !rec.Time.Equal(l.SourceTimestamp):
		return fmt.Errorf("%w has another timestamp at %s, partition %d, offset %d", errOriginalGone, l.Source.Topic, l.Source.Partition, l.Source.Offset)
	}
	l.Original = rec.Message
	l.ValueOmitted = ""
	l.identify()
	return nil
}

func sameHeader(a, b events.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) }
