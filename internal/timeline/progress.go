package timeline

import (
	"context"

	"github.com/closeorder/closeorder/consumer"
)

// Progress says of a record whether the group has finished it.
type Progress interface {
	Finished(topic string, partition int, offset int64) bool
}

// finished is the Progress by what is committed.
type finished map[string]map[int]func(offset int64) bool

func (f finished) Finished(topic string, partition int, offset int64) bool {
	is, ok := f[topic][partition]
	return ok && is(offset)
}

// progressOf asks the group's coordinator, until it answers or ctx ends.
func progressOf(ctx context.Context, scope Scope, partitions map[string][]int) (Progress, error) {
	of := make(map[string][]int)
	for _, topic := range append([]string{scope.Topics.Requests}, scope.Topics.Retries()...) {
		if partitions[topic] != nil {
			of[topic] = partitions[topic]
		}
	}
	client := scope.Reader.Client
	all := make(finished)
	err := client.Persist(ctx, scope.Topics.Requests, -1, func(ctx context.Context) error {
		committed, err := client.Committed(ctx, scope.Group, of)
		for topic, of := range committed {
			if all[topic] == nil {
				all[topic] = make(map[int]func(int64) bool)
			}
			for partition, is := range of {
				all[topic][partition], _ = consumer.Finished(topic, partition, is.Offset, is.Metadata) // metadata of others count for nothing
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
