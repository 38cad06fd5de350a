package tracing_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
)

func getenv(name string) string { return os.Getenv(name) }

func topicsOf(topics config.Topics) (all []broker.Topic) {
	for _, name := range topics.All() {
		all = append(all, broker.Topic{Name: name, Partitions: 1})
	}
	return all
}

func merchantsOf(t *testing.T) []closer.Merchant {
	t.Helper()
	key, err := signing.NewKey(gatewaysim.DirectKey)
	if err != nil {
		t.Fatal(err)
	}
	return []closer.Merchant{{MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key}, SignType: signing.MD5}}
}

var port = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// portless leaves out what differs from run to run.
func portless(s string) string { return port.ReplaceAllString(s, "127.0.0.1:PORT") }
