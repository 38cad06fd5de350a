package gatewaysim

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/signing"
)

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func order1(number string) Order { return Order{MchID: "1900000109", OutTradeNo: number} }

func mustKey(t testing.TB, secret string) signing.Key {
	t.Helper()
	k, err := signing.NewKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// virtual runs a test in a synctest bubble against a served simulator. No shop
// can be reached unless the test gives a client of it: a bubble has no DNS.
func virtual(t *testing.T, cfg Config, test func(t *testing.T, s *Simulator, c *client)) {
	t.Helper()
	if cfg.Notices.Client == nil {
		cfg.Notices.Client = &http.Client{Transport: shop(func(*http.Request) (*http.Response, error) { return nil, errors.New("no shop") })}
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSimulator(t, cfg)
		c, stop := serveVirtual(t, s)
		defer stop()
		test(t, s, c)
	})
}

func TestAllMerchantsCanCloseOverTCP(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	for _, m := range DefaultMerchants() {
		expect(t, m.MchID, c.as(m).close("T1"), "SUCCESS")
		expect(t, m.MchID, c.as(m).query("T1"), "CLOSED")
	}
}

// The official sandbox has its calls under a path, and so may a base URL.
func TestCallsAreServedUnderAnyPrefix(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	base := c.base
	for i, prefix := range []string{"/sandboxnew", "/xdc/apiv2sandbox", "/pay"} {
		c.base = base + prefix
		expect(t, prefix, c.close(fmt.Sprint("T", i)), "SUCCESS")
		expect(t, prefix, c.query(fmt.Sprint("T", i)), "CLOSED")
		expect(t, prefix, c.create(fmt.Sprint("C", i)), "SUCCESS")
	}
	c.base = base + "/other/closeorder?"
	expect(t, "another path", c.close("T"), "status 404")
}

func TestAQueryCarriesAttach(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	got, said := c.post(t.Context(), OrderQuery, document(c.fields("ATTACH-1")))
	if said != "" || got["attach"] != "a=1&total_fee=100" || signing.Verify(got, c.merchant.Key, signing.MD5) != nil {
		t.Errorf("%s: %v", said, got)
	}
}

func TestWrongSettingsAreAllNamed(t *testing.T) {
	m := DefaultMerchants()[0]
	_, err := New(Config{
		Merchants: []Merchant{m, m, {MchID: "1"}, {MchID: "2", AppID: "a"}, {MchID: "3", AppID: "a", Key: m.Key, SignType: "SM3"}},
		Latency:   Latency{Min: 2, Max: 1}, Failures: Failures{Drop: 0.7, Lose: 0.4},
		Rate: -1, Buyers: Buyers{Share: math.NaN(), Within: -1, Gap: -2, Twice: 3}, LateCreates: 2,
		Notices: Notices{Lost: 4, Again: 5, Delay: -6, Pauses: []time.Duration{-7}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"1900000109 is given twice", "1 has no appid", "2 has no key", "SM3", "latency", "add up to", "rate is -1", "NaN", "within -1ns", "gap is -2", "twice is 3", "lost notices is 4", "again is 5", "-6ns", "-7ns", "late creates is 2"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

func TestNoKeyIsPrinted(t *testing.T) {
	s := newSimulator(t, Config{})
	for _, m := range DefaultMerchants() {
		for _, format := range []string{"%v", "%+v", "%#v"} {
			text := fmt.Sprintf(format, m) + fmt.Sprintf(format, s.cfg) + fmt.Sprintf(format, s.merchants[m.MchID])
			for _, secret := range []string{DirectKey, HMACKey, InstitutionKey} {
				if strings.Contains(text, secret) {
					t.Errorf("%s shows a key", format)
				}
			}
		}
	}
}

// The replies that must convince nobody would convince a careless reader:
// each has one flaw only.
func TestSpoiledRepliesHaveOneFlawOnly(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	for _, prefix := range []string{"OTHERMCH", "DUPFIELD", "NESTED", "DOCTYPE", "TRAILING", "OTHERROOT", "HUGE", "BADXML"} {
		for _, op := range []Op{CloseOrder, OrderQuery} {
			sent := c.fields(prefix + "-1")
			resp, err := c.http.Post(c.base+"/pay/"+string(op), "text/xml", strings.NewReader(string(document(sent))))
			if err != nil {
				t.Fatal(err)
			}
			body := readAll(t, resp)
			resp.Body.Close()
			got := careless(body)
			if err := signing.Verify(got, c.merchant.Key, signing.MD5); err != nil {
				t.Errorf("%s %s: %v", prefix, op, err)
			}
			if got["return_code"] != "SUCCESS" || got["result_code"] != "SUCCESS" || op == OrderQuery && got["trade_state"] != "CLOSED" {
				t.Errorf("%s %s: does not say closed: %v", prefix, op, got)
			}
		}
	}
}

// careless reads XML as many clients do: it takes what it knows and the last
// of everything.
func careless(body string) map[string]string {
	fields, name := make(map[string]string), ""
	d := xml.NewDecoder(strings.NewReader(body))
	d.Strict = false
	for depth := 0; ; {
		tok, err := d.Token()
		if err != nil {
			return fields
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if depth++; depth == 2 {
				name = tok.Name.Local
			}
		case xml.CharData:
			if depth >= 2 {
				fields[name] = string(tok)
			}
		case xml.EndElement:
			if depth--; depth == 0 {
				return fields
			}
		}
	}
}

func TestAReplyIsSignedWithTheKeyOfTheMomentItGoesOut(t *testing.T) {
	old, fresh := mustKey(t, DirectKey), mustKey(t, "a-new-key")
	virtual(t, Config{Latency: Latency{Min: 10 * time.Second, Max: 10 * time.Second}}, func(t *testing.T, s *Simulator, c *client) {
		c.http.Timeout = 0
		results := make(chan string)
		under := c.as(c.merchant)
		go func() { results <- under.close("T1") }()
		time.Sleep(9999 * time.Millisecond)
		if err := s.SetKey("1900000109", fresh); err != nil {
			t.Fatal(err)
		}
		expect(t, "a call in progress, read with the old key", <-results, "nothing: signature does not match")

		if err := s.SetLatency(Latency{}); err != nil {
			t.Fatal(err)
		}
		expect(t, "a request with the old key", c.close("T2"), "nothing: unsigned FAIL, "+msgSignature)
		c.merchant.Key = fresh
		expect(t, "a request with the new key", c.close("T2"), "SUCCESS")
		if err := s.SetKey("1900000109", old); err != nil {
			t.Fatal(err)
		}
		if s.SetKey("1", old) == nil || s.SetKey("1900000109", signing.Key{}) == nil {
			t.Error("an impossible key change is no error")
		}
	})
}

func TestARefusedMerchantHarmsNoOther(t *testing.T) {
	s := newSimulator(t, Config{})
	c := serveTCP(t, s)
	if err := s.Refuse("1900000109", "ACCOUNT_ERROR"); err != nil {
		t.Fatal(err)
	}
	expect(t, "refused", c.close("T1"), "ACCOUNT_ERROR")
	expect(t, "another", c.as(DefaultMerchants()[1]).close("T1"), "SUCCESS")
	if err := s.Refuse("1900000109", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, "served again", c.close("T1"), "SUCCESS")
	if st := s.Stats(); st.Refusals["ACCOUNT_ERROR"] != 1 || st.Answers["SUCCESS"] != 2 {
		t.Errorf("%+v", st)
	}
}

func TestAMerchantThatIsTooFastIsToldSo(t *testing.T) {
	virtual(t, Config{Rate: 5}, func(t *testing.T, s *Simulator, c *client) {
		for i := range 5 {
			expect(t, "within the rate", c.close(fmt.Sprint("T", i)), "SUCCESS")
		}
		expect(t, "above the rate", c.close("T5"), "nothing: unsigned FAIL, "+msgFrequency)
		expect(t, "another merchant", c.as(DefaultMerchants()[1]).close("T5"), "SUCCESS")
		time.Sleep(200 * time.Millisecond)
		expect(t, "later", c.close("T5"), "SUCCESS")
	})
}

func TestAnOutageOfOneHostLeavesTheOther(t *testing.T) {
	s := newSimulator(t, Config{})
	main, backup := serveTCP(t, s), serveTCP(t, s)
	host := strings.TrimPrefix(main.base, "http://")
	for mode, want := range map[Outage]string{OutageRefuse: "no reply", Outage5xx: "status 502"} {
		s.SetOutage(host, mode)
		expect(t, "main", main.close("T1"), want)
		expect(t, "backup", backup.close(string("B-"+mode)), "SUCCESS")
		s.SetOutage(host, NoOutage)
		expect(t, "main again", main.close(string("M-"+mode)), "SUCCESS")
	}
	s.SetOutage(AllHosts, Outage5xx)
	expect(t, "main with all down", main.close("T1"), "status 502")
	expect(t, "backup with all down", backup.close("T1"), "status 502")
}

func TestAHostIsAlsoKnownByItsName(t *testing.T) {
	s := newSimulator(t, Config{})
	c := serveTCP(t, s)
	s.SetOutage("localhost", Outage5xx)
	expect(t, "by address", c.close("T1"), "SUCCESS")
	c.base = strings.Replace(c.base, "127.0.0.1", "localhost", 1)
	c.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.Replace(addr, "localhost", "127.0.0.1", 1))
	}
	expect(t, "by name", c.close("T1"), "status 502")
}

func TestAFrozenHostServesThoseWhoStillWait(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		c.http.Timeout = time.Minute
		s.SetOutage(AllHosts, OutageFreeze)
		results := make(chan string)
		go func() { results <- c.close("PATIENT") }()
		hasty := c.as(c.merchant)
		hasty.http = &http.Client{Transport: c.http.Transport, Timeout: 5 * time.Second}
		expect(t, "the hasty one", hasty.close("HASTY"), "time-out")
		time.Sleep(10 * time.Second)
		s.SetOutage("another host", OutageFreeze)
		s.SetOutage(AllHosts, NoOutage)
		expect(t, "the patient one", <-results, "SUCCESS")
		if _, ok := s.Lookup(order1("HASTY")); ok {
			t.Error("the call that was given up was served")
		}
	})
}

func TestAResetIsAReset(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	resp, err := c.http.Post(c.base+"/pay/closeorder", "text/xml", strings.NewReader(string(document(c.fields("RESET-1")))))
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

func TestEverythingWorksOverHTTP2Too(t *testing.T) {
	s := newSimulator(t, Config{})
	server := httptest.NewUnstartedServer(nil)
	server.Config = s.Server()
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c := newClient(server.URL, nil)
	c.http = server.Client()
	for _, step := range []struct{ number, want string }{
		{"T1", "SUCCESS"}, {"LOST-1", "no reply"}, {"DROP-1", "no reply"}, {"RESET-1", "cut in the middle"}, {"STATUS-1", "status 502"}, {"FORGED-1", "nothing: signature does not match"},
	} {
		expect(t, step.number, c.close(step.number), step.want)
	}
	expect(t, "after a lost reply", c.query("LOST-2"), "no reply")
	if e, _ := s.Lookup(order1("RESET-1")); e.State != Closed || e.InProgress != 0 {
		t.Errorf("%+v", e)
	}
	resp, err := c.http.Post(c.base+"/pay/closeorder", "text/xml", bytes.NewReader(document(c.fields("T2"))))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("protocol %s", resp.Proto)
	}
}

func TestAnIdleConnectionIsClosedAfterEightSeconds(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		transport := c.http.Transport.(*http.Transport)
		dials := 0
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return dial(ctx, network, addr)
		}
		transport.IdleConnTimeout = time.Hour
		for i, idle := range []time.Duration{0, 7 * time.Second, 7 * time.Second} {
			time.Sleep(idle)
			expect(t, "idle for "+idle.String(), c.close(fmt.Sprint("T", i)), "SUCCESS")
		}
		if dials != 1 {
			t.Errorf("%d connections within the idle time, want 1", dials)
		}
		time.Sleep(9 * time.Second)
		expect(t, "idle for 9s", c.close("T9"), "SUCCESS")
		if dials != 2 {
			t.Errorf("%d connections, want a second one", dials)
		}
	})
}

func TestLatencyStaysWithinItsBounds(t *testing.T) {
	virtual(t, Config{Seed: 3, Latency: Latency{Min: time.Second, Max: 2 * time.Second}}, func(t *testing.T, s *Simulator, c *client) {
		seen := make(map[time.Duration]bool)
		for i := range 50 {
			began := time.Now()
			expect(t, "close", c.close(fmt.Sprint("T", i)), "SUCCESS")
			d := time.Since(began)
			if d < time.Second || d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			seen[d] = true
		}
		if len(seen) < 40 {
			t.Errorf("only %d different latencies", len(seen))
		}
		if err := s.SetLatency(Latency{Jitter: time.Second}); err != nil {
			t.Fatal(err)
		}
		c.http.Timeout = 0
		began := time.Now()
		for i := range 200 {
			c.close(fmt.Sprint("J", i))
		}
		if mean := time.Since(began) / 200; mean < 700*time.Millisecond || mean > 1300*time.Millisecond {
			t.Errorf("mean %v with a jitter of 1s", mean)
		}
		if s.SetLatency(Latency{Min: -1}) == nil {
			t.Error("a negative latency is no error")
		}
	})
}

func TestFailuresComeAtTheirRates(t *testing.T) {
	virtual(t, Config{Seed: 7, Failures: Failures{SystemError: 0.1, Drop: 0.2, Lose: 0.1, BadGateway: 0.1}}, func(t *testing.T, s *Simulator, c *client) {
		const n = 1000
		got := make(map[string]int)
		lost := 0
		for i := range n {
			number := fmt.Sprint("T", i)
			result := c.close(number)
			got[result]++
			if e, _ := s.Lookup(order1(number)); result == "no reply" && e.State == Closed {
				lost++
			}
		}
		for result, want := range map[string]int{"SUCCESS": 500, "SYSTEMERROR": 100, "no reply": 300, "status 502": 100} {
			if d := got[result] - want; d < -60 || d > 60 {
				t.Errorf("%d times %s, want about %d", got[result], result, want)
			}
		}
		if lost < 60 || lost > 140 {
			t.Errorf("%d replies lost after the close, want about 100", lost)
		}
		if (Failures{Drop: 1.1}).check() == nil {
			t.Error("a rate above 1 is no error")
		}
		if f := EvenFailures(0.3); f.check() != nil || math.Abs(f.SystemError+f.Drop+f.BadGateway-0.3) > 1e-9 {
			t.Errorf("%+v", f)
		}
	})
}

// What happens to an order depends on the seed and its own calls alone.
func TestConcurrencyDoesNotChangeWhatIsDrawn(t *testing.T) {
	run := func(seed uint64, concurrent bool) map[string]string {
		var mu sync.Mutex
		got := make(map[string]string)
		virtual(t, Config{Seed: seed, Failures: EvenFailures(0.5), Latency: Latency{Max: time.Second}, Buyers: Buyers{Share: 0.3, Within: 3 * time.Second}},
			func(t *testing.T, s *Simulator, c *client) {
				var wg sync.WaitGroup
				for i := range 40 {
					number := fmt.Sprint("T", i)
					one := func() {
						text := ""
						for range 3 {
							text += c.close(number) + ", "
						}
						mu.Lock()
						defer mu.Unlock()
						got[number] = text
					}
					if concurrent {
						wg.Go(one)
					} else {
						one()
					}
				}
				wg.Wait()
			})
		return got
	}
	alone, together, other := run(1, false), run(1, true), run(2, true)
	same := 0
	for number, want := range alone {
		expect(t, number, together[number], want)
		if other[number] == want {
			same++
		}
	}
	if same == len(alone) {
		t.Error("the seed changes nothing")
	}
}

func TestBuyersPayAndCreatesComeLate(t *testing.T) {
	virtual(t, Config{Seed: 5, Buyers: Buyers{Share: 0.25, Within: time.Minute}, LateCreates: 0.25}, func(t *testing.T, s *Simulator, c *client) {
		const n = 400
		for i := range n {
			c.query(fmt.Sprint("T", i))
			expect(t, "an order with a prefix", c.query(fmt.Sprint("FLAKY", i)), "SYSTEMERROR")
		}
		time.Sleep(time.Hour)
		count := make(map[string]int)
		for _, e := range s.Book() {
			if e.Behaviour == "" || e.Behaviour == "FLAKY" {
				count[e.Behaviour+e.State.String()]++
			} else {
				count["late"]++
			}
		}
		if d := count["paid"] - n*3/16; d < -30 || d > 30 {
			t.Errorf("%d paid, want about %d", count["paid"], n*3/16)
		}
		if d := count["late"] - n/4; d < -30 || d > 30 {
			t.Errorf("%d late, want about %d", count["late"], n/4)
		}
		if count["FLAKYnotpay"] != n {
			t.Errorf("orders with a prefix were paid: %v", count)
		}
	})
}

func TestTheOutsideWorldCanActOnOrders(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		s.PayAt(order1("T1"), time.Now().Add(2*time.Minute))
		s.CreateAt(order1("T1"), time.Now().Add(time.Minute))
		expect(t, "before", c.close("T1"), "ORDERNOTEXIST")
		if e, _ := s.Lookup(order1("T1")); !e.CreateInFlight || e.Payable || e.State != Unknown {
			t.Errorf("%+v", e)
		}
		time.Sleep(time.Minute)
		expect(t, "created", c.query("T1"), "NOTPAY")
		created := time.Now()
		time.Sleep(time.Minute)
		expect(t, "paid", c.close("T1"), "ORDERPAID")

		e, _ := s.Lookup(order1("T1"))
		if e.StateAt(created.Add(-time.Second)) != Unknown || e.StateAt(created) != NotPay || e.StateAt(time.Now()) != Paid {
			t.Errorf("states over time: %+v", e.Events)
		}
		if !e.PaidAfter(created) || e.PaidAfter(time.Now()) || e.TransactionID == "" {
			t.Errorf("%+v", e)
		}

		s.Put(order1("T2"), Closed)
		s.PayAt(order1("T2"), time.Time{})
		expect(t, "put", c.query("T2"), "CLOSED")
		if e, _ := s.Lookup(order1("T2")); e.StateAt(time.Now().Add(-time.Hour)) != Unknown || e.Events[1].What != PayRefused {
			t.Errorf("%+v", e.Events)
		}
		s.PayAt(order1("T3"), time.Now()) // unknown: nothing to pay
		if e, _ := s.Lookup(order1("T3")); e.State != Unknown {
			t.Errorf("%+v", e)
		}
	})
}

func TestWhatWasFoundWasSoBefore(t *testing.T) {
	virtual(t, Config{}, func(t *testing.T, s *Simulator, c *client) {
		c.close("PAID-1")
		if e, _ := s.Lookup(order1("PAID-1")); e.StateAt(time.Now().Add(-time.Hour)) != Paid {
			t.Errorf("%+v", e.Events)
		}
	})
}
