package console

import (
	"context"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/deadletters"
	"github.com/closeorder/closeorder/internal/timeline"
)

// topics is what pages read in the topics themselves, by the rooms that the commands
// ask too.
type topics interface {
	order(ctx context.Context, scope timeline.Scope) (*timeline.Report, error)
	at(ctx context.Context, place events.Source) (deadletters.Letter, error)
}

// ofKafka reads them.
type ofKafka struct{ cfg Config }

func (k ofKafka) order(ctx context.Context, scope timeline.Scope) (*timeline.Report, error) {
	scope.Reader, scope.Topics, scope.Group = k.cfg.Reader, k.cfg.Topics, k.cfg.Group
	s, err := timeline.Take(ctx, scope)
	if err != nil {
		return nil, err
	}
	return s.Find(ctx, timeline.Options{})
}

func (k ofKafka) at(ctx context.Context, place events.Source) (deadletters.Letter, error) {
	place.Topic = k.cfg.Topics.DeadLetters
	return deadletters.Get(ctx, k.cfg.Reader, place)
}
