package kafka

import (
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestABrokerSaysOfWhichReleaseItIs goes by what franz-go has recorded of each
// release.
func TestABrokerSaysOfWhichReleaseItIs(t *testing.T) {
	for release, want := range map[string]string{
		"v0.10.2": "unknown", "v0.11.0": "0.11", "v1.0": "1.0", "v1.1": "1.1",
		"v2.0": "2.0", "v2.1": "2.1", "v2.2": "2.1", "v2.3": "2.3", "v2.4": "2.4", "v2.5": "2.5", "v2.6": "2.5", "v2.7": "2.7", "v2.8": "2.8",
		"v3.0": "3.0", "v3.1": "3.1", "v3.4": "3.1", "v3.5": "3.5", "v3.6": "3.5", "v3.7": "3.7", "v3.8": "3.8", "v3.9": "3.9",
		"v4.0": "4.0", "v4.1": "4.1", "v4.2": "4.2", "v4.3": "4.2",
	} {
		all := kversion.FromString(release)
		if all == nil {
			t.Errorf("franz-go knows no %s", release)
			continue
		}
		spoken := versions{}
		all.EachMaxKeyVersion(func(key, most int16) {
			spoken[protocol.ApiKey(key)] = struct{ from, to int16 }{0, most}
		})
		if got := spoken.release(); got.String() != want {
			t.Errorf("%s: %s, want %s", release, got, want)
		}
	}
	if (Release{2, 5}).Before(Release{2, 5}) || !(Release{2, 4}).Before(Release{2, 5}) || (Release{3, 0}).Before(Release{2, 5}) {
		t.Error("releases are in a wrong order")
	}
}
