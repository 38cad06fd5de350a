package kafka

import (
	"context"
	"fmt"
)

// FormatSetting is the setting of a topic that says in which format its records
// are kept, and FormatDefault that of brokers for topics without. Clusters that were
// upgraded in place may still have one of before Kafka 0.11, in which records have no
// headers (Kafka's documentation, Upgrading, log.message.format.version). Brokers
// refuse a batch with headers then: with UNSUPPORTED_FOR_MESSAGE_FORMAT one of an
// idempotent producer, another one with UNKNOWN_SERVER_ERROR.
const (
	FormatSetting = "message.format.version"
	FormatDefault = "log.message.format.version"
)

// protocolSetting is what the brokers speak among each other. From 3.0 on they
// ignore both of the settings above (KIP-724).
const protocolSetting = "inter.broker.protocol.version"

var (
	headersFrom   = Release{0, 11}
	formatIgnored = Release{3, 0}
)

// FormatWithHeaders is the oldest format that records with headers can be kept in.
const FormatWithHeaders = "0.11.0"

// DropsHeaders reports whether a format, such as 0.10.2-IV0, is older than headers.
// Of what is no format it says no.
func DropsHeaders(format string) bool {
	r, ok := releaseOf(format)
	return ok && r.Before(headersFrom)
}

// releaseOf reads major and minor of a version, whatever stands behind.
func releaseOf(version string) (r Release, ok bool) {
	n, _ := fmt.Sscanf(version, "%d.%d", &r[0], &r[1])
	return r, n == 2
}

// OldFormat returns the format of topics that are created without one, where that
// is older than headers, and the brokers go by it; else it is empty. It needs leave to
// DESCRIBE_CONFIGS of the cluster.
func (c *Client) OldFormat(ctx context.Context) (string, error) {
	settings, err := c.BrokerSettings(ctx, []string{FormatDefault, protocolSetting})
	if err != nil {
		return "", err
	}
	format := settings[FormatDefault]
	if spoken, ok := releaseOf(settings[protocolSetting]); ok && !spoken.Before(formatIgnored) || !DropsHeaders(format) {
		return "", nil
	}
	return format, nil
}

// leaveOutFormats takes the formats out of the settings of topics that the brokers
// do not go by. It is asked only where one matters. Brokers that do not say what they
// speak among each other are taken for those that go by it when they are older than
// Kafka 3.0.
func (c *Client) leaveOutFormats(ctx context.Context, topics map[string]map[string]string) {
	matters := false
	for _, settings := range topics {
		matters = matters || DropsHeaders(settings[FormatSetting])
	}
	if !matters {
		return
	}
	settings, err := c.BrokerSettings(ctx, []string{protocolSetting})
	spoken, ok := releaseOf(settings[protocolSetting])
	if err != nil || !ok {
		spoken = c.transport.oldest()
	}
	if spoken.Before(formatIgnored) {
		return
	}
	for _, settings := range topics {
		delete(settings, FormatSetting)
	}
}

// oldest is the oldest release that a broker speaks to which there is a connection.
func (t *transport) oldest() (oldest Release) {
	t.each(func(c *conn) {
		if r := c.versions.release(); oldest == (Release{}) || r.Before(oldest) {
			oldest = r
		}
	})
	return oldest
}
