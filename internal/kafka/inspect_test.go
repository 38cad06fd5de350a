package kafka

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go/protocol/metadata"
)

func TestTheWorstOfItsPartitionsStandsForATopic(t *testing.T) {
	partition := func(id, leader int32, replicas, inSync int) metadata.ResponsePartition {
		return metadata.ResponsePartition{PartitionIndex: id, LeaderID: leader, ReplicaNodes: make([]int32, replicas), IsrNodes: make([]int32, inSync)}
	}
	got := layoutOf(metadata.ResponseTopic{
		Partitions:                []metadata.ResponsePartition{partition(3, -1, 3, 1), partition(0, 1, 3, 3), partition(2, 1, 3, 2), partition(1, 2, 2, 2)},
		TopicAuthorizedOperations: 1<<MayRead | 1<<MayDescribe,
	})
	if text := fmt.Sprint(got.Partitions, got.Replication, got.InSync, got.Leaderless, got.Lagging); text != "4 2 1 [3] [2]" {
		t.Error(text)
	}
	if !got.Rights.Known || !got.Rights.May(MayRead) || got.Rights.May(MayWrite) {
		t.Errorf("%+v", got.Rights)
	}
	for sentence, bits := range map[string]int32{"a version without the field": 0, "brokers that do not say": notTold} {
		if r := rightsOf(bits); r.Known || r.May(MayRead) {
			t.Errorf("%s: %+v", sentence, r)
		}
	}
}
