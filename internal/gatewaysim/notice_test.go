package gatewaysim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/signing"
)

// shop is what a notice meets in place of a network.
type shop func(*http.Request) (*http.Response, error)

func (s shop) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

// mailbox is a shop that keeps every notice, and answers the first ones as it
// is told and those after them with SUCCESS.
type mailbox struct {
	mu      sync.Mutex
	answers []string
	posts   []posted
	open    int // posts that go on
}

type posted struct {
	at        time.Time
	url, body string
}

const thanks = "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"

func (m *mailbox) client() *http.Client {
	return &http.Client{Transport: shop(m.take), Timeout: 5 * time.Second}
}

func (m *mailbox) take(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.open++
	defer func() {
		m.mu.Lock()
		m.open--
		m.mu.Unlock()
	}()
	answer := thanks
	if len(m.posts) < len(m.answers) {
		answer = m.answers[len(m.posts)]
	}
	m.posts = append(m.posts, posted{time.Now(), r.Method + " " + r.URL.String() + " " + r.Header.Get("Content-Type"), string(body)})
	m.mu.Unlock()
	status := http.StatusOK
	switch answer {
	case "refused connection":
		return nil, errors.New("connection refused")
	case "no answer":
		<-r.Context().Done()
		time.Sleep(time.Millisecond) // until that is noticed
		return nil, r.Context().Err()
	case "status 500":
		status, answer = http.StatusInternalServerError, thanks
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

// pauses are the times from the payment to the first notice, and between one
// and the next.
func (m *mailbox) pauses(paid time.Time) []time.Duration {
	pauses, before := []time.Duration{}, paid
	for _, p := range m.all() {
		pauses = append(pauses, p.at.Sub(before))
		before = p.at
	}
	return pauses
}

// all returns every notice so far.
func (m *mailbox) all() []posted {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.posts)
}

// The official page names the fields; testdata has one notice of each merchant.
func TestANoticeSaysWhatWasPaidAndIsSigned(t *testing.T) {
	box := new(mailbox)
	var out strings.Builder
	virtual(t, Config{Seed: 1, Notices: Notices{Client: box.client()}}, func(t *testing.T, s *Simulator, c *client) {
		for i, m := range DefaultMerchants() {
			c := c.as(m)
			key := Order{MchID: m.MchID, OutTradeNo: fmt.Sprint("T", i)}
			var changes []string
			if m.Institution {
				key.SubMchID = "1900000211"
				changes = []string{"sub_appid", "wx1111111111111111"}
			}
			expect(t, "create", c.buy(key.OutTradeNo, "a & b ]]>", changes...), "SUCCESS")
			s.PayAt(key, time.Now().Add(time.Minute))
			time.Sleep(time.Hour)
			e, _ := s.Lookup(key)
			posts := box.all()
			if !e.Noticed || len(posts) != i+1 {
				t.Fatalf("%s: %d notices, %+v", m.MchID, len(posts), e)
			}
			got, err := parseFields([]byte(posts[i].body))
			if err != nil {
				t.Fatal(err)
			}
			signType := signing.MD5
			if m.SignType != "" {
				signType = m.SignType
			}
			if err := signing.Verify(got, m.Key, signType); err != nil {
				t.Errorf("%s: %v", m.MchID, err)
			}
			if got["transaction_id"] != e.TransactionID || got["total_fee"] != fmt.Sprint(e.TotalFee) || got["attach"] != e.Purchase || e.Purchase != "a & b ]]>" {
				t.Errorf("%v is not of %+v", got, e)
			}
			query, _ := c.post(t.Context(), OrderQuery, document(c.fields(key.OutTradeNo)))
			for _, name := range []string{"transaction_id", "total_fee", "time_end", "attach", "bank_type", "fee_type", "cash_fee", "appid", "sub_mch_id"} {
				expect(t, "the query's "+name, query[name], got[name])
			}
			fmt.Fprintf(&out, "# %s\n%s\n%s\n\n", m.MchID, posts[i].url, posts[i].body)
		}
	})
	golden.Check(t, testdata+"notices.txt", out.String())
}

// The key and the sign type are the merchant's at the moment it goes out.
func TestANoticeIsSignedWithTheKeyOfTheMoment(t *testing.T) {
	fresh := mustKey(t, "a-new-key")
	box := &mailbox{answers: []string{"no answer"}}
	virtual(t, Config{Notices: Notices{Client: box.client()}}, func(t *testing.T, s *Simulator, c *client) {
		c.buy("T1", "A")
		s.PayAt(order1("T1"), time.Now())
		time.Sleep(time.Second)
		if err := s.SetKey("1900000109", fresh); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
	})
	for i, key := range []signing.Key{mustKey(t, DirectKey), fresh} {
		fields, err := parseFields([]byte(box.all()[i].body))
		if err != nil || signing.Verify(fields, key, signing.MD5) != nil {
			t.Errorf("notice %d: %v, %v", i, fields, err)
		}
	}
}

func TestNoticesComeUntilTheShopTakesOne(t *testing.T) {
	short := []time.Duration{time.Second, 3 * time.Second}
	for name, tc := range map[string]struct {
		answers []string // those after them are SUCCESS
		notices Notices
		want    []time.Duration
		refused bool
	}{
		"taken at once, it is sent once":                 {want: []time.Duration{0}},
		"not taken, it comes again by the real pauses":   {answers: slices.Repeat([]string{"refused connection"}, 99), want: append([]time.Duration{0}, realPauses...), refused: true},
		"taken in the middle, it comes no more":          {answers: []string{"refused connection", "refused connection"}, want: []time.Duration{0, 15 * time.Second, 15 * time.Second}},
		"a shop that does not answer is waited for, 5 s": {answers: []string{"no answer"}, want: []time.Duration{0, 20*time.Second + time.Millisecond}},
		"FAIL takes nothing":                             {answers: []string{"<xml><return_code>FAIL</return_code></xml>"}, want: []time.Duration{0, 15 * time.Second}},
		"text takes nothing":                             {answers: []string{"SUCCESS", ""}, want: []time.Duration{0, 15 * time.Second, 15 * time.Second}},
		"XML without return_code takes nothing":          {answers: []string{"<xml><result_code>SUCCESS</result_code></xml>"}, want: []time.Duration{0, 15 * time.Second}},
		"a huge answer takes nothing":                    {answers: []string{"<xml><return_code>SUCCESS</return_code>" + strings.Repeat(" ", 70<<10) + "</xml>"}, want: []time.Duration{0, 15 * time.Second}},
		"status 500 takes nothing, whatever it says":     {answers: []string{"status 500"}, want: []time.Duration{0, 15 * time.Second}},
		"pauses of one's own":                            {answers: []string{"", "", ""}, notices: Notices{Pauses: short}, want: []time.Duration{0, time.Second, 3 * time.Second}, refused: true},
		"no pauses: it is sent once":                     {answers: []string{""}, notices: Notices{Pauses: []time.Duration{}}, want: []time.Duration{0}, refused: true},
		"with Again, one that was taken comes once more": {notices: Notices{Again: 1, Pauses: short}, want: []time.Duration{0, time.Second}},
		"with Again, once more and no more than that":    {answers: []string{thanks, "", "", ""}, notices: Notices{Again: 1}, want: []time.Duration{0, 15 * time.Second}},
		"with Again, the pause is the one it would have": {answers: []string{""}, notices: Notices{Again: 1, Pauses: short}, want: []time.Duration{0, time.Second, 3 * time.Second}},
		"with Again and no pause left, no more":          {notices: Notices{Again: 1, Pauses: []time.Duration{}}, want: []time.Duration{0}},
		"with Lost, the first one never comes":           {notices: Notices{Lost: 1, Pauses: short}, want: []time.Duration{time.Second}},
		"with Lost, only the first is lost":              {answers: []string{""}, notices: Notices{Lost: 1, Pauses: short}, want: []time.Duration{time.Second, 3 * time.Second}},
		"with Lost and no pauses, none":                  {notices: Notices{Lost: 1, Pauses: []time.Duration{}}, want: []time.Duration{}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			box := &mailbox{answers: tc.answers}
			tc.notices.Client = box.client()
			virtual(t, Config{Notices: tc.notices}, func(t *testing.T, s *Simulator, c *client) {
				c.buy("T1", "A")
				paid := time.Now().Add(time.Minute)
				s.PayAt(order1("T1"), paid)
				time.Sleep(48 * time.Hour)
				if got := box.pauses(paid); !slices.Equal(got, tc.want) {
					t.Errorf("it came after %v, want %v", got, tc.want)
				}
				if e, _ := s.Lookup(order1("T1")); e.Noticed == tc.refused || e.State != Paid {
					t.Errorf("%+v", e)
				}
			})
		})
	}
}

func TestOnlyAPaymentOfACreatedOrderIsTold(t *testing.T) {
	box := new(mailbox)
	cfg := Config{Notices: Notices{Client: box.client()}, LateCreate: time.Minute}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		c.query("PAID-1")
		c.query("LIMIT-1")
		c.query("LATEPAID-1")
		c.buy("UNPAID", "A")
		c.buy("CLOSED", "A")
		c.close("CLOSED")
		s.PayAt(order1("CLOSED"), time.Now())
		s.PayAt(order1("UNKNOWN-1"), time.Now())
		time.Sleep(time.Hour)
		if posts := box.all(); len(posts) != 0 {
			t.Errorf("told of %v", posts)
		}
		// Paid in future when it is created: the payment was planned before.
		s.PayAt(order1("T1"), time.Now().Add(time.Minute))
		c.buy("T1", "A")
		time.Sleep(time.Hour)
		if posts := box.all(); len(posts) != 1 {
			t.Errorf("told of %v", posts)
		}
	})
}

// The book is lazy: nobody but Notify looks at it here.
func TestTheFirstNoticeComesWithinItsDelayOfThePayment(t *testing.T) {
	box := new(mailbox)
	cfg := Config{
		Seed: 4, LateCreates: .3, Buyers: Buyers{Share: .5, Within: time.Minute, Twice: .5},
		Notices: Notices{Client: box.client(), Delay: 2 * time.Second},
	}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		for i := range 60 {
			c.buy(fmt.Sprint("T", i), fmt.Sprint("buys", i))
			c.buy(fmt.Sprint("T", i, "b"), fmt.Sprint("buys", i))
		}
		time.Sleep(time.Hour)
		came, spread := make(map[string]time.Time), make(map[time.Duration]bool)
		posts := box.all()
		for _, p := range posts {
			fields, err := parseFields([]byte(p.body))
			if err != nil {
				t.Fatal(err)
			}
			came[fields["out_trade_no"]] = p.at
		}
		paid := 0
		for _, e := range s.Book() {
			if e.State != Paid {
				continue
			}
			paid++
			at := e.Events[slices.IndexFunc(e.Events, func(ev Event) bool { return ev.What == PaidByBuyer })].At
			delay := came[e.OutTradeNo].Sub(at)
			spread[delay] = true
			if delay < 0 || delay > 2*time.Second || !e.Noticed {
				t.Errorf("%s: told %v after the payment", e.OutTradeNo, delay)
			}
		}
		if paid < 20 || len(posts) != paid || len(spread) < paid/2 {
			t.Errorf("%d paid, %d notices, %d different delays", paid, len(posts), len(spread))
		}
	})
}

func TestAPaymentOfALateCreateIsToldThoughNobodyLooks(t *testing.T) {
	box := new(mailbox)
	cfg := Config{LateCreates: 1, Buyers: Buyers{Share: 1, Within: time.Minute}, Notices: Notices{Client: box.client()}}
	virtual(t, cfg, func(t *testing.T, s *Simulator, c *client) {
		expect(t, "create", c.buy("T1", "A"), "time-out")
		time.Sleep(time.Hour)
		e, _ := s.Lookup(order1("T1"))
		if posts := box.all(); len(posts) != 1 || e.State != Paid || !posts[0].at.Equal(e.Events[1].At) {
			t.Errorf("told %v, %+v", posts, e.Events)
		}
	})
}

// A bubble ends only when nothing runs in it any more; the post is cut.
func TestNothingRunsAfterTheEndOfNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &mailbox{answers: []string{"no answer"}}
		s := newSimulator(t, Config{Notices: Notices{Client: &http.Client{Transport: shop(box.take)}, Pauses: []time.Duration{}}})
		c := newClient("http://gateway", nil)
		c.http.Transport = shop(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w.Result(), nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Notify(ctx) }()
		synctest.Wait()
		expect(t, "create", c.buy("T1", "A"), "SUCCESS")
		s.PayAt(order1("T1"), time.Now())
		time.Sleep(time.Hour) // the shop's client waits as long as it takes
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if e, _ := s.Lookup(order1("T1")); e.Noticed || len(box.all()) != 1 || box.open != 0 {
			t.Errorf("%d notices, %+v", len(box.all()), e)
		}
		time.Sleep(time.Hour)
		if len(box.all()) != 1 {
			t.Error("a notice went out after the end")
		}

		// The next one sends what was cut; and a third waits for it.
		ctx, stop = context.WithCancel(t.Context())
		other, stopOther := context.WithCancel(t.Context())
		go func() { ended <- s.Notify(ctx) }()
		go func() { ended <- s.Notify(other) }()
		synctest.Wait()
		if e, _ := s.Lookup(order1("T1")); !e.Noticed || len(box.all()) != 2 {
			t.Errorf("%d notices, %+v", len(box.all()), e)
		}
		stop()
		<-ended
		c.buy("T2", "A")
		s.PayAt(order1("T2"), time.Now())
		synctest.Wait()
		if e, _ := s.Lookup(order1("T2")); !e.Noticed {
			t.Error("nobody took over")
		}
		stopOther()
		<-ended
		if err := s.Notify(other); err != nil {
			t.Error(err)
		}
	})
}

// With the client that the gateway has by itself, over a real network.
func TestServeSendsNotices(t *testing.T) {
	var posts atomic.Int64
	told := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if posts.Add(1) == 1 {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, thanks)
		told <- r.URL.Path + " " + string(bytes.TrimSpace(body))
	}))
	defer server.Close()
	s := newSimulator(t, Config{Notices: Notices{Pauses: []time.Duration{time.Millisecond}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	var clients []*client
	for range 2 { // two hosts of one gateway
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- s.Serve(ctx, ln) }()
		clients = append(clients, newClient("http://"+ln.Addr().String(), nil))
	}
	expect(t, "create", clients[0].buy("T1", "A", "notify_url", server.URL+"/paid"), "SUCCESS")
	expect(t, "create with a notify_url that is none", clients[1].buy("T2", "A", "notify_url", "nowhere%%"), "SUCCESS")
	s.PayAt(order1("T1"), time.Time{})
	s.PayAt(order1("T2"), time.Time{})
	select {
	case got := <-told:
		if !strings.HasPrefix(got, "/paid <xml>") {
			t.Errorf("told %s", got)
		}
	case <-time.After(time.Minute):
		t.Error("not told")
	}
	for _, c := range clients {
		c.http.CloseIdleConnections()
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := posts.Load(); n != 2 {
		t.Errorf("%d posts, want one that was sent elsewhere and one that was taken", n)
	}
	if e, _ := s.Lookup(order1("T1")); e.State != Paid {
		t.Errorf("%+v", e)
	}
}
