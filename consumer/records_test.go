package consumer

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
)

// Whatever a request says, a broker that refuses what follows from it gets it in
// another form: a record that had none would hold up its partition for ever.
func TestEveryRecordHasItsOtherForms(t *testing.T) {
	ts := &Topics{Requests: "requests", Outcomes: "outcomes", DeadLetters: "dead", Retries: []Tier{{"retries", time.Minute}}}
	long := strings.Repeat("k", longKey+1)
	headers := func(pairs ...string) (hs []events.Header) {
		for i := 0; i < len(pairs); i += 2 {
			hs = append(hs, events.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return hs
	}
	for sentence, msg := range map[string]events.Message{
		"a good one":                   {Key: []byte("T1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1","metadata":{"a":[1, 2 ]},"request_id":"r"}`)},
		"with a long key":              {Key: []byte(long), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`)},
		"nothing":                      {},
		"nothing but a long key":       {Key: []byte(long)},
		"no JSON":                      {Key: []byte("\xff\x00"), Value: []byte("\x80\xff")},
		"a tombstone":                  {Key: []byte("T1")},
		"fields of all wrong types":    {Value: []byte(`{"mch_id":1,"out_trade_no":[],"metadata":3,"expires_at":"x","request_id":{},"sub_mch_id":null}`)},
		"texts that nobody can print":  {Value: []byte(`{"mch_id":"19\u0000\u2028","out_trade_no":"T\n\ud800","request_id":"\u0007","reason":"\ufffd"}`)},
		"attributes that are no such":  {Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`), Headers: headers("ce_id", "", "ce_type", "x", "ce_time", "never", "traceparent", "zz")},
		"replayed more often than can": {Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`), Headers: headers("closeorder-replay", "99999999999")},
		"headers of ours":              {Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`), Headers: headers("closeorder-error-code", "x", "closeorder-source-topic", "", "closeorder-stand-in-key", "1")},
		"of 2 MB":                      {Key: []byte("T1"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1","note":"` + strings.Repeat("n", 2<<20) + `"}`)},
		"times beyond all years":       {Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1","order_created_at":"9999-12-31T23:59:59-23:59","expires_at":"0001-01-01T00:00:00+23:59"}`)},
	} {
		t.Run(sentence, func(t *testing.T) {
			for _, at := range []time.Time{time.Unix(1_700_000_000, 0), time.UnixMilli(1 << 61), {}} {
				r := &request{partition: newPartition(t.Context(), topicPartition{"requests", 3}), offset: 7, time: at, msg: msg, source: events.Source{Topic: "requests", Partition: 3, Offset: 7}}
				r.read(nil)
				now := time.Now()
				for _, verdict := range []Verdict{
					{Class: Failed, Code: events.CodeInvalidRequest, Message: r.rejected},
					{Class: Closed, Code: "SUCCESS", SafeToReissue: true, Gateway: &events.Gateway{Host: "h", ReturnMsg: "\x00\u2028"}},
				} {
					first := ts.outcome(r, &verdict, now)
					forms := otherForms(t, first)
					if len(forms) == 0 && (first.msg.Headers == nil || verdict.Message != "" || len(first.msg.Key) > longKey) {
						t.Error("an outcome has no smaller form")
					}
					for _, form := range forms {
						a, errA := events.DecodeOutcome(first.msg)
						b, errB := events.DecodeOutcome(form.msg)
						if errA != nil || errB != nil {
							t.Fatalf("%v, %v", errA, errB)
						}
						a.Metadata, b.Metadata, a.Message, b.Message, a.Key, b.Key = nil, nil, "", "", nil, nil
						if !reflect.DeepEqual(a, b) {
							t.Errorf("a smaller outcome says something else:\n%+v\n%+v", a, b)
						}
					}
				}
				v := Verdict{Class: Failed, Code: events.CodeInvalidRequest, Message: r.rejected}
				dead := ts.deadLetter(r, &v, now)
				if n := len(otherForms(t, dead)); n != 3 {
					t.Errorf("a dead letter has %d smaller forms", n)
				}
				if keyed, ok := dead.withKey(); !ok || keyed.msg.Key == nil {
					t.Error("a dead letter cannot have a key")
				} else if d, err := records.DecodeDeadLetter(keyed.msg); err != nil || string(d.Original.Value) != string(msg.Value) || len(d.Original.Headers) != len(msg.Headers) {
					t.Errorf("a dead letter with a key is another one: %v", err)
				}
				retry := ts.retry(r, &decision{verdict: Verdict{Code: "SYSTEMERROR"}, tier: ts.Retries[0], due: now}, now)
				if keyed, ok := retry.withKey(); !ok || keyed.msg.Key == nil {
					t.Error("a retry record cannot have a key")
				} else if d, err := records.DecodeRetry(keyed.msg); err != nil || string(d.Original.Value) != string(msg.Value) {
					t.Errorf("a retry record with a key is another one: %v", err)
				}
				if v, ok := retry.instead(); !ok || v.Code != events.CodeRecordTooLarge {
					t.Errorf("nothing stands in for a retry record: %+v", v)
				}
			}
		})
	}
}

// otherForms are the smaller and smaller forms of a record.
func otherForms(t *testing.T, rec record) (forms []record) {
	t.Helper()
	for {
		smaller, ok := rec.smaller()
		if !ok {
			return forms
		}
		if forms = append(forms, smaller); len(forms) > 9 {
			t.Fatal("there is no end of smaller forms")
		}
		rec = smaller
	}
}
