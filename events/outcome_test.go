package events

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	noon   = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)
	source = Source{Topic: "closeorder.requests", Partition: 3, Offset: 42}
)

const traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func sampleRequest() Request {
	return Request{
		OutTradeNo: "T2", MchID: "1900000109", AppID: "wx8888888888888888", RequestID: "r-1",
		ReplacementOutTradeNo: "T2-2", Metadata: []byte(`{ "n": 1.00, "html": "<&>" }`),
		RequestedAt: noon, TraceParent: traceParent,
	}
}

// answered is the outcome of sampleRequest with a result.
func answered(result Result, change func(o *Outcome)) Outcome {
	o := NewOutcome(sampleRequest(), []byte("k"), source)
	o.Result, o.CompletedAt = result, noon.Add(123456789*time.Nanosecond)
	if change != nil {
		change(&o)
	}
	return o
}

func sampleOutcomes() map[string]Outcome {
	return map[string]Outcome{
		"closed": answered(Closed, func(o *Outcome) {
			o.SafeToReissue, o.ConfirmedBy, o.Attempts = true, ConfirmedByCloseOrder, 1
			o.Gateway = &Gateway{Host: "api.mch.weixin.qq.com", ReturnCode: "SUCCESS", ReturnMsg: "OK", ResultCode: "SUCCESS"}
		}),
		"paid": answered(Paid, func(o *Outcome) {
			o.Code, o.Message, o.ConfirmedBy, o.Attempts = "ORDERPAID", "订单已支付", ConfirmedByOrderQuery, 2
			o.Gateway = &Gateway{
				Host: "api.mch.weixin.qq.com", ReturnCode: "SUCCESS", ReturnMsg: "OK", ResultCode: "SUCCESS",
				ErrCode: "ORDERPAID", ErrCodeDes: "订单已支付 <&>", TradeState: "SUCCESS",
				TransactionID: "4200001234202511231234567890", TotalFee: 888, TimeEnd: "20251123195959",
			}
		}),
		"failed": answered(Failed, func(o *Outcome) {
			o.Code, o.Message, o.Attempts, o.Replay = CodeRetriesExhausted, "no answer from the gateway", 12, 1
			o.ID = OutcomeID(o.RequestID, o.Order(), o.Source, o.Replay)
		}),
		"failed-institution": answered(Failed, func(o *Outcome) {
			o.SubMchID, o.SubAppID, o.Code = "1900000211", "wx7777777777777777", "PARAM_ERROR"
			o.Key, o.Metadata, o.ReplacementOutTradeNo, o.TraceParent = nil, nil, "", ""
		}),
		"failed-record-key": func() Outcome {
			o := NewOutcome(Request{MchID: "1900000109"}, []byte("T2"), source)
			o.Result, o.Code, o.Message, o.CompletedAt = Failed, CodeInvalidRequest, "out_trade_no: is required", noon
			return o
		}(),
		"failed-unreadable": {
			ID:     OutcomeID("", Order{}, source, 0),
			Result: Failed, Code: CodeInvalidRequest, Message: ErrTombstone.Error(), CompletedAt: noon, Source: source,
		},
	}
}

func TestOutcomesOnTheWire(t *testing.T) {
	for name, o := range sampleOutcomes() {
		t.Run(name, func(t *testing.T) {
			m, err := EncodeOutcome(o)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, "outcomes/"+name+".json", m)
			back, err := DecodeOutcome(m)
			if err != nil {
				t.Fatal(err)
			}
			if len(o.Key) == 0 && o.OutTradeNo != "" {
				o.Key = []byte(o.OutTradeNo)
			}
			if !reflect.DeepEqual(back, o) {
				t.Errorf("comes back as %+v\nwas %+v", back, o)
			}
		})
	}
	if got := len(files(t, "outcomes")); got != len(sampleOutcomes()) {
		t.Errorf("%d golden files for %d outcomes", got, len(sampleOutcomes()))
	}
}

// Also one of a kind that no field had before, and an amount below zero.
func TestEveryFieldOfAnOutcomeIsRead(t *testing.T) {
	values := map[reflect.Type]string{
		reflect.TypeFor[string](): `"x"`, reflect.TypeFor[Result](): `"closed"`, reflect.TypeFor[bool](): "true",
		reflect.TypeFor[int](): "1", reflect.TypeFor[int64](): "1",
		reflect.TypeFor[time.Time](): `"2026-01-02T03:04:05Z"`, reflect.TypeFor[json.RawMessage](): `{"a":1}`,
	}
	inner := []reflect.Type{reflect.TypeFor[*Gateway](), reflect.TypeFor[Source]()} // read with their own names
	for _, c := range []struct {
		words *vocabulary
		to    any
	}{{outcomeWords, &Outcome{}}, {gatewayWords, &Gateway{}}, {sourceWords, &Source{}}} {
		fields := reflect.ValueOf(c.to).Elem()
		for i, name := range c.words.names {
			field := fields.Field(c.words.at[i])
			value := values[field.Type()]
			if name == "total_fee" {
				value = "-1"
			}
			if slices.Contains(inner, field.Type()) {
				continue
			}
			var p problems
			doc := scanObject([]byte(`{"`+name+`":`+value+`}`), c.words, true)
			if doc.read(c.to, &p); p.err() != nil || field.IsZero() {
				t.Errorf("%T: %s is not read from %s: %v", c.to, name, value, p.err())
			}
		}
	}
}

func TestARequestWhoseOrderCannotBeReadIsKnownByItsKey(t *testing.T) {
	for sentence, c := range map[string]struct {
		outTradeNo, key, want string
	}{
		"the key stands in for the order":           {"", "T2", "T2"},
		"a key that is no out_trade_no":             {"", "订单 42/{a}", "订单 42/{a}"},
		"a key of 128 bytes":                        {"", strings.Repeat("k", 128), strings.Repeat("k", 128)},
		"an order that is named needs no key":       {"T2", "k", ""},
		"no key":                                    {"", "", ""},
		"a key of 129 bytes":                        {"", strings.Repeat("k", 129), ""},
		"a key that cannot be printed":              {"", "T2\n", ""},
		"a key that is no text":                     {"", "\xff\xfe", ""},
		"a key with a schema registry's five bytes": {"", "\x00\x00\x00\x00\x07T2", ""},
	} {
		o := NewOutcome(Request{OutTradeNo: c.outTradeNo}, []byte(c.key), source)
		o.Result, o.CompletedAt = Failed, noon
		m, err := EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeOutcome(m)
		if err != nil || o.RecordKey != c.want || back.RecordKey != c.want {
			t.Errorf("%s: %q, comes back as %q, %v", sentence, o.RecordKey, back.RecordKey, err)
		}
		if string(back.Key) != cmp.Or(c.key, c.outTradeNo) {
			t.Errorf("%s: the key is %q", sentence, back.Key)
		}
	}
}

func TestMetadataIsEchoedUntouched(t *testing.T) {
	for _, metadata := range []string{
		`{}`, `{ }`, "{\n\t\"a\": 1\n}", `{"n":1.00,"m":1e5,"big":123456789012345678901234567890}`, `{"html":"<b>&amp;</b>"}`,
		`{"u":"\u003c\u2028\ud83d\ude42","raw":"` + "\u2028🙂" + `"}`, `{"a":1,"a":2}`, `{"metadata":{"outcome":"paid"}}`,
	} {
		in := Message{Value: []byte(`{"mch_id":"1900000109","metadata":` + metadata + `,"out_trade_no":"T2"}`)}
		r, err := DecodeRequest(in)
		if err != nil {
			t.Fatal(err)
		}
		again, err := EncodeRequest(r, "/shop", noon)
		if err != nil {
			t.Fatal(err)
		}
		if r, err = DecodeRequest(again); err != nil {
			t.Fatal(err)
		}
		o := NewOutcome(r, nil, source)
		o.Result, o.CompletedAt = Closed, noon
		m, err := EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(m.Value, []byte(metadata)) {
			t.Errorf("%s went out in %s", metadata, m.Value)
		}
		if o, err = DecodeOutcome(m); err != nil || string(o.Metadata) != metadata {
			t.Errorf("%s came back as %s, %v", metadata, o.Metadata, err)
		}
	}
}

func TestEncodeOutcomeRefusesContradictions(t *testing.T) {
	for sentence, c := range map[string]struct {
		change func(o *Outcome)
		want   string
	}{
		"no result":                      {func(o *Outcome) { o.Result = "" }, `outcome: is "", want closed, paid or failed`},
		"an unknown result":              {func(o *Outcome) { o.Result = "Closed" }, `outcome: is "Closed", want closed, paid or failed`},
		"a failed order safe to reissue": {func(o *Outcome) { o.Result, o.SafeToReissue = Failed, true }, "safe_to_reissue: is true, but only a closed order can be"},
		"a paid order safe to reissue":   {func(o *Outcome) { o.Result, o.SafeToReissue = Paid, true }, "safe_to_reissue: is true, but only a closed order can be"},
		"no time of completion":          {func(o *Outcome) { o.CompletedAt = time.Time{} }, "completed_at: is required"},
		"a time of completion beyond RFC 3339": {func(o *Outcome) { o.CompletedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
			"completed_at: is in the year 10000, outside 1 to 9999"},
		"counts below zero": {func(o *Outcome) { o.Attempts, o.Replay, o.Source.Offset = -1, -2, -3 },
			"attempts: is -1, want 0 to 2147483647; replay: is -2, want 0 to 2147483647; source.offset: is -3, want 0 or more"},
		"metadata that is not an object":                   {func(o *Outcome) { o.Metadata = []byte("7") }, "metadata: is not a JSON object"},
		"metadata that is broken":                          {func(o *Outcome) { o.Metadata = []byte(`{"a"}`) }, "metadata: is not a JSON object"},
		"metadata that closes the event and opens another": {func(o *Outcome) { o.Metadata = []byte(`{}},{"outcome":{}`) }, "metadata: is not a JSON object"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := EncodeOutcome(answered(Closed, c.change))
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// A worker that could not encode its answer would be stuck for good.
func TestWhatDecodeRequestReturnsCanAlwaysBeAnswered(t *testing.T) {
	for _, path := range files(t, "requests") {
		var cases []requestCase
		readJSON(t, path, &cases)
		for _, c := range cases {
			checkAnswerable(t, c.Record.Message)
		}
	}
}

// checkAnswerable is what holds for any record that could be in the topic.
func checkAnswerable(t *testing.T, m Message) {
	t.Helper()
	r, err := DecodeRequest(m)
	o := NewOutcome(r, m.Key, source)
	o.Result, o.CompletedAt = Failed, noon
	if err != nil {
		o.Code, o.Message = CodeInvalidRequest, err.Error()
		if len(o.Message) > 4000 {
			t.Fatalf("an error of %d bytes", len(o.Message))
		}
	}
	answer, encodeErr := EncodeOutcome(o)
	if encodeErr != nil {
		t.Fatalf("%+v cannot be answered: %v", r, encodeErr)
	}
	back, decodeErr := DecodeOutcome(answer)
	if decodeErr != nil {
		t.Fatalf("%s cannot be read: %v", answer.Value, decodeErr)
	}
	if back.ID != o.ID || back.Order() != r.Order() || back.RequestID != r.RequestID || !bytes.Equal(back.Metadata, r.Metadata) {
		t.Fatalf("%+v is not the answer to %+v", back, r)
	}
}

func TestARecordTimestampBeyondRFC3339DoesNotStopTheAnswer(t *testing.T) {
	m, err := EncodeOutcome(answered(Failed, func(o *Outcome) { o.RequestedAt = time.UnixMilli(1 << 60) }))
	if err != nil {
		t.Fatal(err)
	}
	if o, err := DecodeOutcome(m); err != nil || !o.RequestedAt.IsZero() {
		t.Errorf("%v, %v", o.RequestedAt, err)
	}
}

func TestDecodeOutcomeRefuses(t *testing.T) {
	good, err := EncodeOutcome(answered(Closed, nil))
	if err != nil {
		t.Fatal(err)
	}
	header := func(key, value string) func(m *Message) {
		return func(m *Message) {
			m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h Header) bool { return h.Key == key })
			if value != "" {
				m.Headers = append(m.Headers, Header{key, []byte(value)})
			}
		}
	}
	text := func(from, to string) func(m *Message) {
		return func(m *Message) {
			if !bytes.Contains(m.Value, []byte(from)) {
				panic(from)
			}
			m.Value = bytes.Replace(m.Value, []byte(from), []byte(to), 1)
		}
	}
	for sentence, c := range map[string]struct {
		change func(m *Message)
		kind   string
		want   string
	}{
		"an outcome that is not its event type":  {header(headerType, typePaid), "invalid", `ce_type: is "closeorder.paid", want closeorder.closed`},
		"a request":                              {header(headerType, typeRequested), "invalid", `ce_type: is "closeorder.requested", want closeorder.closed`},
		"no event id, so that repeats go unseen": {header(headerID, ""), "invalid", "ce_id: is required"},
		"another version of CloudEvents":         {header(headerSpecVersion, "2.0"), "invalid", `ce_specversion: is "2.0", want 1.x`},
		"safe to reissue though failed": {func(m *Message) {
			header(headerType, typeFailed)(m)
			text(`"closed"`, `"failed"`)(m)
			text(`"safe_to_reissue":false`, `"safe_to_reissue":true`)(m)
		}, "invalid", "safe_to_reissue: is true, but only a closed order can be"},
		"safe_to_reissue as text":                {text(`"safe_to_reissue":false`, `"safe_to_reissue":"true"`), "invalid", "safe_to_reissue: is a string, want a boolean"},
		"outcome twice":                          {text(`{"outcome"`, `{"outcome":"paid","outcome"`), "invalid", "outcome: occurs more than once"},
		"no outcome":                             {text(`{"outcome"`, `{"Outcome"`), "invalid", `outcome: is "", want closed, paid or failed`},
		"attempts that is not whole":             {text(`"attempts":0`, `"attempts":1.5`), "invalid", `attempts: is "1.5", want a whole number from 0 to 2147483647`},
		"an offset below zero":                   {text(`"offset":42`, `"offset":-42`), "invalid", `source.offset: is "-42", want a whole number from 0 to 9223372036854775807`},
		"a gateway that is text":                 {text(`"source":`, `"gateway":"x","source":`), "invalid", "gateway: is a string, want an object"},
		"a gateway with a code that is a number": {text(`"source":`, `"gateway":{"err_code":1},"source":`), "invalid", "gateway.err_code: is a number, want a string"},
		"a source with a topic twice":            {text(`"topic":`, `"topic":"x","topic":`), "invalid", "source.topic: occurs more than once"},
		"no completion":                          {text(`"completed_at"`, `"x"`), "invalid", "completed_at: is required"},
		"a tombstone":                            {func(m *Message) { m.Value = nil }, "tombstone", "record is a tombstone: it has no value"},
		"an empty value":                         {func(m *Message) { m.Value = []byte{} }, "unreadable", "unreadable record: value is empty"},
		"a value that breaks off":                {func(m *Message) { m.Value = m.Value[:20] }, "unreadable", "unreadable record: value is not JSON: unexpected end of JSON input (byte 20)"},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := good.Clone()
			c.change(&m)
			_, err := DecodeOutcome(m)
			kind, lines := judge(err)
			if kind != c.kind || len(lines) != 1 || lines[0] != c.want {
				t.Errorf("got %s %q, want %s %q", kind, lines, c.kind, c.want)
			}
		})
	}
}

func TestDecodeOutcomeIgnoresWhatItDoesNotKnow(t *testing.T) {
	m, err := EncodeOutcome(answered(Closed, nil))
	if err != nil {
		t.Fatal(err)
	}
	m.Value = append([]byte(`{"OUTCOME":"paid","new":[1,{"outcome":"paid"}],`), m.Value[1:]...)
	m.Headers = append(m.Headers, Header{"ce_new", []byte("x")}, Header{"other", nil})
	if o, err := DecodeOutcome(m); err != nil || o.Result != Closed {
		t.Errorf("%v, %v", o.Result, err)
	}
}

func TestDecodeOutcomeReadsStructuredModeToo(t *testing.T) {
	m, err := EncodeOutcome(answered(Closed, nil))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := m.Header(headerID)
	structured := Message{
		Value:   []byte(`{"specversion":"1.0","id":"` + string(id) + `","type":"closeorder.closed","data":` + string(m.Value) + `}`),
		Headers: []Header{{headerContentType, []byte("application/cloudevents+json")}},
	}
	o, err := DecodeOutcome(structured)
	if err != nil || o.ID != string(id) || o.Result != Closed || o.Source != source {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestOutcomeID(t *testing.T) {
	// Computed with hashlib, uuid and struct of Python from the description.
	const want = "a347a174-e819-8ab2-aebc-119dabe8a3cd"
	order := Order{MchID: "1900000109", OutTradeNo: "T2"}
	base := OutcomeID("r-1", order, source, 0)
	if base != OutcomeID("r-1", order, source, 0) {
		t.Error("differs from itself")
	}
	if base != want {
		t.Errorf("is %s, want %s", base, want)
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(base) {
		t.Errorf("%s is no UUID of version 8", base)
	}
	seen := map[string]string{base: "the base"}
	for what, id := range map[string]string{
		"another request id":     OutcomeID("r-2", order, source, 0),
		"another merchant":       OutcomeID("r-1", Order{MchID: "1900000110", OutTradeNo: "T2"}, source, 0),
		"a sub merchant":         OutcomeID("r-1", Order{MchID: "1900000109", SubMchID: "1", OutTradeNo: "T2"}, source, 0),
		"another number":         OutcomeID("r-1", Order{MchID: "1900000109", OutTradeNo: "T3"}, source, 0),
		"a character moved":      OutcomeID("r-1", Order{MchID: "190000010", SubMchID: "9", OutTradeNo: "T2"}, source, 0),
		"a field moved":          OutcomeID("r-11900000109", Order{OutTradeNo: "T2"}, source, 0),
		"another topic":          OutcomeID("r-1", order, Source{"x", 3, 42}, 0),
		"another partition":      OutcomeID("r-1", order, Source{source.Topic, 4, 42}, 0),
		"another offset":         OutcomeID("r-1", order, Source{source.Topic, 3, 43}, 0),
		"a replay":               OutcomeID("r-1", order, source, 1),
		"another replay":         OutcomeID("r-1", order, source, 2),
		"partition for offset":   OutcomeID("r-1", order, Source{source.Topic, 42, 3}, 0),
		"nothing that was known": OutcomeID("", Order{}, source, 0),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[id] = what
	}
}

func TestTheIDDoesNotDependOnTheAnswer(t *testing.T) {
	ids := map[string]bool{}
	for _, result := range []Result{Closed, Paid, Failed} {
		o := answered(result, func(o *Outcome) { o.ID, o.Attempts = "", 7 })
		m, err := EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := m.Header(headerID)
		ids[string(id)] = true
	}
	if len(ids) != 1 || !ids[answered(Closed, nil).ID] {
		t.Errorf("ids: %v", ids)
	}
}

func TestErrorsAreOfThisPackage(t *testing.T) {
	if _, err := EncodeOutcome(Outcome{}); err == nil {
		t.Error("an empty outcome was encoded")
	} else if _, ok := errors.AsType[*ValidationError](err); !ok {
		t.Errorf("%T", err)
	}
}

func BenchmarkOutcome(b *testing.B) {
	o := sampleOutcomes()["paid"]
	m, err := EncodeOutcome(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := EncodeOutcome(o); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeOutcome(m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("id", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			OutcomeID(o.RequestID, o.Order(), o.Source, o.Replay)
		}
	})
}
