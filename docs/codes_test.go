package docs_test

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/closer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/signing"
)

// gateway answers every call with the same signed fields.
type gateway struct {
	key signing.Key

	mu     sync.Mutex
	fields map[string]string
	spoil  func(http.ResponseWriter) // answers in their stead, if set
}

func (g *gateway) says(fields map[string]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fields, g.spoil = fields, nil
}

func (g *gateway) spoils(with func(http.ResponseWriter)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spoil = with
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	asked, err := closer.ReadFields(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	reply := map[string]string{"return_code": "SUCCESS", "out_trade_no": asked["out_trade_no"]}
	g.mu.Lock()
	maps.Copy(reply, g.fields)
	spoil := g.spoil
	g.mu.Unlock()
	if spoil != nil {
		spoil(w)
		return
	}
	reply[signing.FieldSign] = signing.Sign(reply, g.key, signing.MD5)
	var doc strings.Builder
	doc.WriteString("<xml>")
	for name, value := range reply {
		doc.WriteString("<" + name + ">" + value + "</" + name + ">")
	}
	doc.WriteString("</xml>")
	io.WriteString(w, doc.String())
}

// caller closes orders at a gateway that says what it is told to.
type caller struct {
	gateway *gateway
	close   *closer.Closer // takes the close's word
	ask     *closer.Closer // goes by the query
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	key, err := signing.NewKey("192006250b4c09247ec02edce69f6a2d")
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{gateway: &gateway{key: key}}
	server := httptest.NewServer(c.gateway)
	t.Cleanup(server.Close)
	merchants := closer.MerchantMap{"1900000109": {MchID: "1900000109", AppID: "wx8888888888888888", Keys: []signing.Key{key}}}
	make := func(confirm closer.Confirm) *closer.Closer {
		made, err := closer.New(closer.Config{
			Merchants: merchants, Hosts: []string{server.URL}, Confirm: confirm,
			MinBackoff: 1, MaxBackoff: 1, Budget: 50 * time.Millisecond, AttemptTimeout: 10 * time.Second, ConnectTimeout: 10 * time.Second, Rate: -1,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(made.CloseIdleConnections)
		return made
	}
	c.close, c.ask = make(closer.ConfirmNever), make(closer.ConfirmDoubt)
	return c
}

// answered is what a close comes to that is answered with err_code, for the
// merchant's own appid or for another one that the request brought.
func (c *caller) answered(t *testing.T, errCode, appID string) closer.Verdict {
	fields := map[string]string{"result_code": "FAIL", "err_code": errCode}
	if errCode == "SUCCESS" {
		fields = map[string]string{"result_code": "SUCCESS"}
	}
	c.gateway.says(fields)
	return c.close.Close(t.Context(), closer.Order{MchID: "1900000109", AppID: appID, OutTradeNo: "T1"})
}

// found is what a query comes to that finds an order in a state.
func (c *caller) found(t *testing.T, tradeState string) closer.Verdict {
	c.gateway.says(map[string]string{"result_code": "SUCCESS", "trade_state": tradeState})
	return c.ask.Query(t.Context(), closer.Order{MchID: "1900000109", OutTradeNo: "T1"})
}

// canonical is how codes are compared.
func canonical(code string) string { return strings.ToUpper(strings.ReplaceAll(code, "_", "")) }

// The codes of the page are those that the code has, each with the outcome
// that it leads to: what the gateway can say is said to a closer.
func TestContractHasTheCodesThatThereAre(t *testing.T) {
	p := readPage(t, "contract.md")
	page, onPage := make(map[string]bool), make(map[string]bool)
	anyOther := false
	for _, r := range p.table(t, codeTable...).rows {
		for _, c := range code(r.cells[1]) {
			page[strings.Trim(r.cells[0], "`")+" "+canonical(c)] = true
		}
		anyOther = anyOther || r.cells[0] == "`failed`" && strings.Contains(r.cells[1], "any other")
	}
	for _, r := range p.table(t, onTheWay...).rows {
		for _, c := range code(r.cells[0]) {
			onPage[canonical(c)] = true
		}
	}

	is, way := make(map[string]bool), make(map[string]bool)
	c := newCaller(t)
	learn := func(said string, v closer.Verdict) {
		switch v.Class {
		case closer.Closed, closer.Paid, closer.Failed:
			is[v.Class.String()+" "+canonical(v.Code)] = true
		case closer.Temporary, closer.MerchantRefused:
			way[canonical(v.Code)] = true
		default:
			t.Errorf("%s came to %v %s: %s", said, v.Class, v.Code, v.Message)
		}
	}
	for _, said := range casesOf(t, "../closer", "decide") {
		learn(said, c.answered(t, said, ""))
		learn(said, c.answered(t, said, "wx7777777777777777"))
	}
	learn("SUCCESS", c.answered(t, "SUCCESS", ""))
	for _, said := range casesOf(t, "../closer", "decideQuery") {
		learn(said, c.found(t, said))
	}
	learn("nothing", c.answered(t, "", "")) // UNKNOWN

	// A code that nobody knows stands for itself.
	if v := c.answered(t, "SOMETHING_NEW", ""); v.Class != closer.Failed || v.Code != "SOMETHING_NEW" || !anyOther {
		t.Errorf("an unknown code is %v %s, and the page says \"any other\": %v", v.Class, v.Code, anyOther)
	}
	// A state that is not final is no code of an outcome: the request has
	// expired then.
	if v := c.found(t, "NOTPAY"); v.Class != closer.Failed || v.Code == events.CodeExpired {
		t.Errorf("NOTPAY is %v %s", v.Class, v.Code)
	}

	// What proves nothing is the code of no outcome.
	for said, with := range map[string]func(http.ResponseWriter){
		"status 502":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"a web page":       func(w http.ResponseWriter) { io.WriteString(w, "<html></html>") },
		"no reply":         func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"no signature":     func(w http.ResponseWriter) { io.WriteString(w, "<xml><return_code>SUCCESS</return_code></xml>") },
		"an unsigned FAIL": func(w http.ResponseWriter) { io.WriteString(w, "<xml><return_code>FAIL</return_code></xml>") },
		"a wrong signature": func(w http.ResponseWriter) {
			io.WriteString(w, "<xml><return_code>SUCCESS</return_code><sign>00000000000000000000000000000000</sign></xml>")
		},
		"not even a message": func(w http.ResponseWriter) { io.WriteString(w, "<xml></xml>") },
	} {
		c.gateway.spoils(with)
		for call, v := range map[string]closer.Verdict{
			"a close": c.close.Close(t.Context(), closer.Order{MchID: "1900000109", OutTradeNo: "T1"}),
			"a query": c.ask.Query(t.Context(), closer.Order{MchID: "1900000109", OutTradeNo: "T1"}),
		} {
			if v.Class != closer.Temporary && v.Class != closer.NoAnswer || !onPage[canonical(v.Code)] {
				t.Errorf("%s to %s is %v %s", said, call, v.Class, v.Code)
			}
		}
	}

	ours := make(map[string]bool)
	for name, k := range constantsOf(t, "../events") {
		if strings.HasPrefix(name, "Code") {
			ours[k.value] = true
			is["failed "+canonical(k.value)] = true
		}
	}
	for name, k := range constantsOf(t, "../closer") {
		if k.typ == "Failure" || strings.HasPrefix(name, "Code") && !ours[k.value] {
			way[canonical(k.value)] = true
		}
	}
	// The worker's own words for why a request waits.
	several := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)+$`)
	for _, text := range literalsOf(t, "../consumer") {
		if several.MatchString(text) {
			way[canonical(text)] = true
		}
	}
	if len(is) < 20 || len(way) < 30 {
		t.Errorf("%d codes of outcomes and %d others were found: not all", len(is), len(way))
	}
	same(t, "codes of outcomes", page, is)
	same(t, "codes on the way", onPage, way)
}
