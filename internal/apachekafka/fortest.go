package apachekafka

import (
	"context"
	"testing"
	"time"
)

// startTimeout bounds the start of a cluster in a test, the fetching of the
// jars included.
const startTimeout = 5 * time.Minute

// ForTest starts a cluster for a test and closes it after. When the test has
// failed it logs the last lines of the brokers' logs. Where no Apache Kafka can
// be started the test fails: whoever sets the build tag apachekafka wants it.
func ForTest(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.LogTail())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
