package kafka

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestWhatABrokerLacksIsWhatItsReleaseLacks goes by what franz-go has recorded of
// each release.
func TestWhatABrokerLacksIsWhatItsReleaseLacks(t *testing.T) {
	for _, release := range []Release{{0, 11}, {1, 0}, {1, 1}, {2, 0}, {2, 1}, {2, 2}, {2, 3}, {2, 4}, {2, 5}, {2, 6}, {2, 7}, {2, 8}, {3, 3}, {3, 9}, {4, 0}, {4, 3}} {
		all := kversion.FromString("v" + release.String())
		if release == (Release{0, 11}) {
			all = kversion.V0_11_0()
		}
		spoken := versions{}
		all.EachMaxKeyVersion(func(key, most int16) {
			spoken[protocol.ApiKey(key)] = struct{ from, to int16 }{0, most}
		})
		var want []Feature
		for _, f := range Features() {
			if release.Before(f.Since()) {
				want = append(want, f)
			}
		}
		if got := spoken.lacks(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("Kafka %s lacks %v, want %v", release, got, want)
		}
	}
	if Feature("wings").Since() != (Release{}) {
		t.Error("a feature that there is not has a release")
	}
}
