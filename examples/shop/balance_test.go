package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/signing"
)

// TestTheBalanceFindsWhatIsWrong plants in the books what must not be there.
func TestTheBalanceFindsWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		what    string
		states  string // of the numbers P-1 and P-2 at the gateway
		books   string // of the purchase
		right   bool
		printed string
	}{
		{"paid and delivered", "CLOSED SUCCESS", "paid 1", true, "to do             0"},
		{"given up, and nothing can be paid", "CLOSED unknown", "given_up 0", true, "to do             0"},
		{"two numbers are paid", "SUCCESS SUCCESS", "paid 1", false, "paid twice        1  P"},
		{"one is paid, nothing is delivered", "CLOSED SUCCESS", "given_up 0", false, "never delivered   1  P"},
		{"delivered, and the money went back", "REFUND CLOSED", "paid 1", false, "delivered unpaid  1  P"},
		{"delivered, and nothing is paid", "CLOSED CLOSED", "paid 1", false, "delivered unpaid  1  P"},
		{"paid, and the other number can still be paid", "NOTPAY SUCCESS", "paid 1", false, "left open         1  P"},
		{"given up while a buyer is paying", "CLOSED USERPAYING", "given_up 0", false, "left open         1  P"},
		{"not settled", "CLOSED CLOSED", "open 0", false, "left open         1  P"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			s, _ := bench(t)
			states := strings.Fields(tt.states)
			s.gateway.client = http.DefaultClient
			s.gateway.url = answering(t, s.gateway, map[string]string{"P-1": states[0], "P-2": states[1]})
			books := strings.Fields(tt.books)
			mustExec(t, s.db, `UPDATE payments SET state = 'closed'`)
			mustExec(t, s.db, `INSERT INTO payments (out_trade_no, purchase, n, fee, state, create_sent_at, create_again_at, created_at) VALUES ('P-2', 'P', 2, 500, 'paid', 0, 0, 0)`)
			mustExec(t, s.db, `UPDATE purchases SET state = '`+books[0]+`', delivered = `+books[1])
			b, err := s.takeBalance(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var printed strings.Builder
			if err := b.print(&printed, false); err != nil {
				t.Fatal(err)
			}
			if b.right() != tt.right || !strings.Contains(printed.String(), tt.printed) {
				t.Errorf("right: %v\n%s", b.right(), printed.String())
			}
		})
	}
}

// answering is a gateway that knows the state of some numbers.
func answering(t *testing.T, g *gateway, states map[string]string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := readDocument(r.Body)
		if err == nil {
			err = g.verify(query)
		}
		if err != nil {
			t.Errorf("a query: %v", err)
		}
		number := query.get("out_trade_no")
		reply := document{{Name: "return_code", Value: "SUCCESS"}, {Name: "mch_id", Value: merchant}, {Name: "appid", Value: appID}, {Name: "out_trade_no", Value: number}}
		if state := states[number]; state == "unknown" {
			reply = append(reply, signing.Field{Name: "result_code", Value: "FAIL"}, signing.Field{Name: "err_code", Value: "ORDERNOTEXIST"})
		} else {
			reply = append(reply, signing.Field{Name: "result_code", Value: "SUCCESS"}, signing.Field{Name: "trade_state", Value: state}, signing.Field{Name: "total_fee", Value: "500"})
		}
		_, _ = w.Write(reply.signed(t, demoKey).xml())
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestTheGatewayIsBelievedOnlyWhereItHasSigned(t *testing.T) {
	s, _ := bench(t)
	for what, spoil := range map[string]func(document) document{
		"signed with another key": func(d document) document { return d.signed(t, "another_key_of_thirty-two_bytes!") },
		"not signed":              func(d document) document { return d },
		"changed afterwards": func(d document) document {
			d = d.signed(t, demoKey)
			d[4].Value = "SUCCESS"
			return d
		},
		"about another number": func(d document) document {
			d[3].Value = "P-9"
			return d.signed(t, demoKey)
		},
		"a field twice": func(d document) document {
			return append(d.signed(t, demoKey), signing.Field{Name: "trade_state", Value: "CLOSED"})
		},
	} {
		t.Run(what, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(spoil(document{{Name: "return_code", Value: "SUCCESS"}, {Name: "mch_id", Value: merchant}, {Name: "appid", Value: appID},
					{Name: "out_trade_no", Value: "P-1"}, {Name: "trade_state", Value: "NOTPAY"}, {Name: "result_code", Value: "SUCCESS"}}).xml())
			}))
			defer server.Close()
			s.gateway.client, s.gateway.url = http.DefaultClient, server.URL
			if state, _, err := s.gateway.query(t.Context(), "P-1"); err == nil {
				t.Errorf("believed: %s", state)
			} else if strings.Contains(err.Error(), demoKey) {
				t.Errorf("the key is in it: %v", err)
			}
		})
	}
}
