package worker

import (
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	"github.com/closeorder/closeorder/signing"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

func TestWhereCallsGoWhenAHostIsLeft(t *testing.T) {
	left, well := closer.HostHealth{URL: "a"}, closer.HostHealth{URL: "b", InUse: true}
	for _, tt := range []struct {
		what  string
		hosts []closer.HostHealth
		want  string
	}{
		{"to the next one", []closer.HostHealth{left, well}, "gateway host left: calls go to the next one"},
		{"to the only one", []closer.HostHealth{left}, "gateway host cannot be reached: there is no other one, so that calls still go to it"},
		{"to the least bad one", []closer.HostHealth{left, left}, "gateway host left, and so is every other one: calls go to the one that failed least"},
	} {
		if got := whereCallsGo(tt.hosts); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
}

func TestAHostThatIsLeftIsTold(t *testing.T) {
	sim, err := gatewaysim.New(gatewaysim.Config{Merchants: gatewaysim.DefaultMerchants()})
	if err != nil {
		t.Fatal(err)
	}
	backup := httptest.NewServer(sim)
	defer backup.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens at the main host
	main := "http://" + l.Addr().String()

	key, err := signing.NewKey(gatewaysim.DirectKey)
	if err != nil {
		t.Fatal(err)
	}
	merchants := closer.MerchantMap{"1900000109": {MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key}}}
	c, err := closer.New(closer.Config{Merchants: merchants, Hosts: []string{main, backup.URL}, MinBackoff: 1, MaxBackoff: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseIdleConnections()
	for _, order := range []string{"T1", "T2", "T3", "T4", "T5"} {
		if v := c.Close(t.Context(), closer.Order{MchID: "1900000109", OutTradeNo: order}); v.Class != closer.Closed {
			t.Fatalf("%s: %+v", order, v)
		}
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	hook := test.NewLocal(log)
	w := &Worker{closer: c, log: log}
	told := make(map[string]condition)
	w.tellHosts(c.Hosts(), told)
	w.tellHosts(c.Hosts(), told)
	entries := hook.AllEntries()
	if len(entries) != 1 || entries[0].Level != logrus.WarnLevel || entries[0].Data["host"] != main || entries[0].Message != "gateway host left: calls go to the next one" {
		t.Errorf("told %d times: %+v", len(entries), entries)
	}
}

func TestWhatIsToldOfAHost(t *testing.T) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	hook := test.NewLocal(log)
	w, told := &Worker{log: log}, make(map[string]condition)
	for _, h := range []closer.HostHealth{
		{InUse: true}, {InUse: true, Failing: true}, {InUse: true, Failing: true}, {Failing: true}, {InUse: true}, {InUse: true},
	} {
		h.URL = "a"
		w.tellHosts([]closer.HostHealth{h, {URL: "b", InUse: true}}, told)
	}
	var got []string
	for _, e := range hook.AllEntries() {
		got = append(got, e.Message)
	}
	want := []string{
		"most calls to the gateway host fail: it gets few at a time, and another one, if there is one, goes first",
		"gateway host left: calls go to the next one",
		"gateway host in use again, as before",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
