package kafka_test

import (
	"errors"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestABrokerThatHasJustStartedKnowsNoTopics: with a ZooKeeper it says so before its
// controller tells it of them, and that is no reason to call them missing. One without
// does not answer before it knows.
func TestABrokerThatHasJustStartedKnowsNoTopics(t *testing.T) {
	for sentence, tt := range map[string]struct {
		release *kversion.Versions
		knows   time.Duration // after so long; 0 for never
		missing bool
		within  time.Duration
	}{
		"Kafka 2.8 that knows them a second later": {kversion.V2_8_0(), time.Second, false, 2 * time.Second},
		"Kafka 2.8 that has none":                  {kversion.V2_8_0(), 0, true, 4 * time.Second},
		"Kafka 4.0":                                {kversion.V4_0_0(), 0, true, 100 * time.Millisecond},
	} {
		t.Run(sentence, func(t *testing.T) {
			onBench(t, 1, func(b *bench) {
				c := b.kafka.Cluster()
				begun := time.Now()
				c.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
					tt.release.EachMaxKeyVersion(func(key, most int16) {
						if r := kmsg.RequestForKey(key); r != nil {
							k := kmsg.NewApiVersionsResponseApiKey()
							k.ApiKey, k.MaxVersion = key, min(most, r.MaxVersion())
							res.ApiKeys = append(res.ApiKeys, k)
						}
					})
					return res, nil, true
				})
				c.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					if tt.knows > 0 && time.Since(begun) >= tt.knows {
						return nil, nil, false
					}
					name, topic := "of-nobody", kmsg.NewMetadataRequestTopic()
					topic.Topic = &name
					req.(*kmsg.MetadataRequest).Topics = []kmsg.MetadataRequestTopic{topic}
					return nil, nil, false
				})
				client := b.open()
				defer client.Close()
				counts, err := client.Partitions(b.within(time.Minute), "t", "u")
				var missing *kafka.MissingTopicsError
				if errors.As(err, &missing) != tt.missing || err != nil != tt.missing || !tt.missing && (counts["t"] != 1 || counts["u"] != 2) {
					b.t.Errorf("%v, %v", counts, err)
				}
				if took := time.Since(begun); took > tt.within {
					b.t.Errorf("it took %v, want %v at most", took, tt.within)
				}
			})
		})
	}
}
