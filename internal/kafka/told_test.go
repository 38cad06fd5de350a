package kafka_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/kafka"
)

func TestWhatLastsIsToldOnceAMinute(t *testing.T) {
	for sentence, c := range map[string]struct {
		first, then string
		told        bool
	}{
		"the same":               {"connection refused", "connection refused", false},
		"another":                {"connection refused", "no such host", true},
		"from another port":      {"read tcp 10.0.0.1:51000->10.0.0.9:9092: reset", "read tcp 10.0.0.1:51002->10.0.0.9:9092: reset", false},
		"after another while":    {"broker k:9092 has not answered Fetch within 5.5s: i/o timeout", "broker k:9092 has not answered Fetch within 5.487s: i/o timeout", false},
		"after a while of hours": {"throttles this client for 312ms more", "throttles this client for 1h2m3.5s more", false},
		"of another number":      {"lacks 1 of 3 partitions", "lacks 2 of 3 partitions", true},
	} {
		var told kafka.Told
		if !told.Due("t", errors.New(c.first)) || told.Due("t", errors.New(c.then)) != c.told || !told.Due("u", errors.New(c.first)) {
			t.Errorf("%s: told when it should not be, or the reverse", sentence)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var told kafka.Told
		for seconds := range 180 {
			if due := told.Due("t", errors.New("connection refused")); due != (seconds%60 == 0) {
				t.Errorf("after %d s: %v", seconds, due)
			}
			time.Sleep(time.Second)
		}
	})
}
