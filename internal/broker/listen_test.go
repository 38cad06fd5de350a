package broker_test

import (
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/closeorder/closeorder/internal/broker"
)

func TestClientsAreToldWhatIsAdvertised(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  broker.Config
		want string // empty for the port that is listened on
	}{
		"the address that it listens on":       {broker.Config{}, "127.0.0.1:"},
		"a name with the port of the listener": {broker.Config{Host: "0.0.0.0", Advertise: "kafka"}, "kafka:"},
		"a name with a port that is mapped":    {broker.Config{Host: "127.0.0.1", Advertise: "outside.example:32001"}, "outside.example:32001"},
		"an address of IPv6":                   {broker.Config{Host: "0.0.0.0", Advertise: "[2001:db8::1]:9092"}, "[2001:db8::1]:9092"},
		"an address of IPv6 without a port":    {broker.Config{Host: "0.0.0.0", Advertise: "2001:db8::1"}, "[2001:db8::1]:"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, tt.cfg)
			if !strings.HasPrefix(b.Addr(), tt.want) || strings.HasSuffix(b.Addr(), ":") {
				t.Fatalf("bootstrap from %s, want %s", b.Addr(), tt.want)
			}
			// From within the process it is reached whatever is advertised.
			client := newFranz(t, b, kgo.Dialer(b.Dial))
			meta, err := kadm.NewClient(client).Metadata(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			host, port, err := net.SplitHostPort(b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if got := meta.Brokers[0]; got.Host != host || net.JoinHostPort(host, port) != b.Addr() {
				t.Errorf("clients are told %s:%d, want %s", got.Host, got.Port, b.Addr())
			}
		})
	}
}

func TestWhatCannotBeAdvertisedIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  broker.Config
		want string
	}{
		"all addresses without a name": {broker.Config{Host: "0.0.0.0"}, "--advertise"},
		"the same of IPv6":             {broker.Config{Host: "::"}, "--advertise"},
		"all addresses as a name":      {broker.Config{Host: "0.0.0.0", Advertise: "0.0.0.0"}, `"0.0.0.0" cannot be advertised`},
		"a port that is none":          {broker.Config{Advertise: "kafka:nine"}, `"kafka:nine" cannot be advertised`},
		"a port beyond the last":       {broker.Config{Advertise: "kafka:65536"}, `"kafka:65536" cannot be advertised`},
		"no host":                      {broker.Config{Advertise: ":9092"}, `":9092" cannot be advertised`},
		"three brokers as one":         {broker.Config{Brokers: 3, Advertise: "kafka"}, "one broker alone"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := broker.Start(tt.cfg)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
