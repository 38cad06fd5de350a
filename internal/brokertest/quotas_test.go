//go:build apachekafka

package brokertest

import "testing"

// TestAQuotaOfTimeInTheBroker (request_percentage, KIP-124): the broker holds
// every answer of the client back, heartbeats too, for up to a second each.
func TestAQuotaOfTimeInTheBroker(t *testing.T) {
	throttled(t, 25, map[string]float64{"request_percentage": 0.3})
}
