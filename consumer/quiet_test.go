package consumer_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// olderThan lets the broker say that it knows each API as far as a release does.
func (c *cluster) olderThan(release *kversion.Versions) {
	c.broker.Cluster().ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.broker.Cluster().KeepControl()
		res := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		release.EachMaxKeyVersion(func(key, most int16) {
			if r := kmsg.RequestForKey(key); r != nil {
				k := kmsg.NewApiVersionsResponseApiKey()
				k.ApiKey, k.MaxVersion = key, min(most, r.MaxVersion())
				res.ApiKeys = append(res.ApiKeys, k)
			}
		})
		// For who takes positions from the group, as time does.
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey = int16(kmsg.OffsetDelete)
		res.ApiKeys = append(res.ApiKeys, k)
		return res, nil, true
	})
}

// Coordinators before Kafka 2.1 forget the position of a partition so long after
// its commit, whoever reads there. What they have forgotten of a quiet partition is
// there again before somebody else gets it, and each commit says for how long it is
// to be kept. Later ones are asked for neither.
func TestPositionsOfQuietPartitionsOutliveOldCoordinators(t *testing.T) {
	for name, tt := range map[string]struct {
		release *kversion.Versions
		again   bool
	}{
		"Kafka 2.0": {kversion.V2_0_0(), true},
		"Kafka 2.1": {kversion.V2_1_0(), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.olderThan(tt.release)
				var commits, unlimited atomic.Int64
				c.broker.Cluster().ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.broker.Cluster().KeepControl()
					commits.Add(1)
					if req.(*kmsg.OffsetCommitRequest).RetentionTimeMillis < (14 * 24 * time.Hour).Milliseconds() {
						unlimited.Add(1)
					}
					return nil, nil, false
				})
				stop := c.worker(&closing{}, nil)
				c.request("T1")
				c.outcomes(1)
				time.Sleep(time.Minute)
				var forgotten kadm.TopicsSet
				before, err := c.admin().FetchOffsets(t.Context(), "g")
				if err != nil || len(before.KOffsets()) == 0 {
					t.Fatalf("nothing was committed: %v", err)
				}
				before.Each(func(o kadm.OffsetResponse) { forgotten.Add(o.Topic, o.Partition) })
				if _, err := c.admin().DeleteOffsets(t.Context(), "g", forgotten); err != nil {
					t.Fatal(err)
				}
				n := commits.Load()
				time.Sleep(61 * time.Minute)
				after, err := c.admin().FetchOffsets(t.Context(), "g")
				if err != nil {
					t.Fatal(err)
				}
				if again := commits.Load() > n; again != tt.again {
					t.Errorf("committed again without anything new: %v, want %v", again, tt.again)
				}
				before.Each(func(o kadm.OffsetResponse) {
					if got, ok := after.Lookup(o.Topic, o.Partition); tt.again && (!ok || got.At != o.At) {
						t.Errorf("%s[%d] was at %d, and is at %+v", o.Topic, o.Partition, o.At, got)
					}
				})
				if told := unlimited.Load() == 0; told != tt.again {
					t.Errorf("%d of %d commits do not say for how long", unlimited.Load(), commits.Load())
				}
				stop()
			})
		})
	}
}
