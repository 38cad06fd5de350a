package events

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"expires_at", "expires_at", 0},
		{"expires_at", "ExpiresAt", 0},
		{"expires_at", " EXPIRES-AT\u200b", 0},
		{"expires_at", "ｅxpires．at", 0},
		{"expires_at", "expire_at", 1},
		{"expires_at", "expiers_at", 1},
		{"expires_at", "exipres_ta", 2},
		{"mch_id", "mсh_id", 1},            // a Cyrillic letter
		{"out_trade_no", "out_trea_no", 2}, // a letter lost, then two that changed places
		{"expires_at", "expirse_at", 1},
		{"expires_at", "expirsxe_at", 2},
		{"expires_at", "expirsxye_at", 3},
		{"appid", "paid", 2},
		{"mch_id", "match_id", 2},
		{"reason", "region", 2},
		{"appid", "mch_id", 3},
		{"metadata", "", 3},
		{"metadata", strings.Repeat("x", 1000), 3},
	} {
		a, b := fold([]byte(c.a)), fold([]byte(c.b))
		if got := distance(&a, &b, 2); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if back := distance(&b, &a, 2); back != c.want {
			t.Errorf("%q and %q: %d the other way", c.a, c.b, back)
		}
	}
}

// slip makes one edit at random.
func slip(random *rand.Rand, name string) string {
	b := []byte(name)
	i := random.IntN(len(b))
	letter := byte('a' + random.IntN(26))
	switch random.IntN(4) {
	case 0:
		return string(append(b[:i:i], b[i+1:]...))
	case 1:
		return string(append(append(b[:i:i], letter), b[i:]...))
	case 2:
		b[i] = letter
	case 3:
		if i+1 < len(b) {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	return string(b)
}

// casings are other ways to write a name of letters, digits and underscores.
func casings(name string) []string {
	camel := ""
	for i, part := range strings.Split(name, "_") {
		if i > 0 {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		camel += part
	}
	return []string{
		camel, strings.ToUpper(camel[:1]) + camel[1:], strings.ToUpper(name), strings.ReplaceAll(name, "_", "-"),
		strings.ReplaceAll(name, "_", "."), strings.ReplaceAll(name, "_", " "), strings.ReplaceAll(name, "_", ""), " " + name, name + "_",
	}
}

// values are right ones, by field.
var values = map[string]string{
	"out_trade_no": `"T2"`, "mch_id": `"1900000109"`, "appid": `"wx8888888888888888"`, "sub_mch_id": `"1900000211"`,
	"sub_appid": `"wx7777777777777777"`, "request_id": `"r-1"`, "reason": `"payment_timeout"`,
	"order_created_at": `"2025-11-23T11:00:00Z"`, "not_before": `"2025-11-23T12:00:00Z"`, "expires_at": `"2025-11-23T13:00:00Z"`,
	"replacement_out_trade_no": `"T2-2"`, "metadata": `{"a":1}`,
}

// Whatever field is misspelt, the record is refused, the error has both names,
// and the order is named.
func TestEveryMisspeltFieldIsRefusedByName(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for i, name := range requestNames {
		written := casings(name)
		for range 200 {
			once := slip(random, name)
			written = append(written, once)
			if requestWords.limits[i] == 2 {
				written = append(written, slip(random, once))
			}
			written = append(written, slip(random, casings(name)[random.IntN(4)]))
		}
		for _, other := range written {
			if requestWords.index([]byte(other)) >= 0 {
				continue // is still right
			}
			var members []string
			for _, n := range requestNames {
				written := n
				if n == name {
					written = other
				}
				members = append(members, fmt.Sprintf("%q:%s", written, values[n]))
			}
			r, err := DecodeRequest(Message{Value: []byte("{" + strings.Join(members, ",") + "}")})
			if err == nil || !strings.HasPrefix(err.Error(), name+": ") || !strings.Contains(err.Error(), fmt.Sprintf("%q is not known, did you mean %s?", other, name)) {
				t.Fatalf("%q for %s: %v", other, name, err)
			}
			if r.OutTradeNo != "T2" || r.MchID != "1900000109" || r.SubMchID != "1900000211" {
				t.Fatalf("%q for %s names %+v", other, name, r.Order())
			}
		}
	}
}

// The words of an order service are its own.
func TestOrdinaryWordsStayAllowed(t *testing.T) {
	for word := range strings.FieldsSeq(`
		paid region match_id version openid unionid amount currency shop store store_id shop_id merchant merchant_id order
		order_id order_no order_sn trade_no trade_type trade_state transaction_id prepay_id user user_id buyer payer body subject
		detail attach notify_url time_start time_expire time_end create_time update_time created_at updated_at deleted_at
		expire_time expiry ttl deadline timestamp ts time date type kind status state source channel platform client_ip ip
		spbill_create_ip device_info trace_id span_id correlation_id event_id message_id idempotency_key nonce sign signature
		meta extra ext data payload schema tags labels remark comment note notes description retry retries attempt attempts
		priority env tenant tenant_id site country locale lang arson rapid`) {
		value := `{"mch_id":"1900000109","out_trade_no":"T2","` + word + `":"x"}`
		if _, err := DecodeRequest(Message{Value: []byte(value)}); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestNearHeaders(t *testing.T) {
	for want, keys := range map[string][]string{
		headerID: {"CE_ID", "ce-id", "Ce-Id", "ceId", "ce_ID", "CE ID", "ce.id", "cloudEvents:id", "cloudEvents_id", "cloudevents-id", "CloudEvent_ID"},
		headerType: {
			"CE_TYPE", "ce-type", "Ce_Type", "ceType", "cloudEvents:type", "cloudEvents_type", "cloudevent.type",
		},
		HeaderReplay: {
			"Closeorder-Replay", "CLOSEORDER_REPLAY", "closeorder_replay", "closeorderReplay", "closeorder-replays", "closeorder-reply", "closeroder-replay",
		},
		headerContentType: {"Content-Type", "content_type", "contentType", "CONTENT-TYPE"},
		"": {
			"", "c", "ce", "id", "type", "ce_", "ce_ids", "ce_typ", "ce_types", "ce_idx", "ce_time", "ce-time", "ce_source", "CE_SUBJECT", "ce_specversion",
			"ce_partitionkey", "cid", "client_id", "correlation_id", "content-encoding", "closeorder-retry-attempt", "closeorder-due-at", "closeorder-held",
			"closeorder-waits-for", "x-ce-id", "cе_id" /* Cyrillic */, strings.Repeat("ce", 1000),
		},
	} {
		for _, key := range keys {
			if got := nearHeader(key); got != want {
				t.Errorf("%.40q: %q, want %q", key, got, want)
			}
		}
	}
}

// A record full of names that are nearly known ones stands in the way of its
// partition for as long as it takes to read it.
func BenchmarkFloodOfNearNames(b *testing.B) {
	var doc bytes.Buffer
	doc.WriteString("{")
	for i := range 5000 {
		fmt.Fprintf(&doc, `"exp%dsat":1,`, i%9)
	}
	doc.WriteString(`"outTradeNo":"T2"}`)
	b.SetBytes(int64(doc.Len()))
	for b.Loop() {
		if _, err := DecodeRequest(Message{Value: doc.Bytes()}); err == nil {
			b.Fatal("was accepted")
		}
	}
}

// The error goes into an outcome, a header and a log.
func TestTheErrorOfManyMisspeltNamesIsBounded(t *testing.T) {
	invisible := strings.Repeat(`\u0001`, 40)
	for _, value := range []string{
		`"` + strings.Repeat(`\u0001`, 200) + `"`,
		"1" + strings.Repeat("0", 500) + ".5",
		`"2025-11-23T12:00:00 x` + invisible + `"`,
	} {
		for _, ends := range [][]string{{"-"}, {"-", "+"}, {"-", "+", "x"}} {
			var members []string
			for _, name := range requestNames {
				for _, end := range ends {
					members = append(members, fmt.Sprintf(`"%s%s%s":%s`, invisible, name, end, value))
				}
			}
			_, err := DecodeRequest(Message{Value: []byte("{" + strings.Join(members, ",") + "}")})
			if err == nil || len(err.Error()) > 4000 {
				t.Errorf("%d bytes: %.300v", len(errorText(err)), err)
			}
		}
	}
}
