package records

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
)

var (
	noon   = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)
	source = events.Source{Topic: "closeorder.requests", Partition: 3, Offset: 42}
)

// originals are records as they may stand in the requests topic. What is
// added to them must come off again without a trace.
func originals() map[string]events.Message {
	plain := events.Message{Key: []byte("T2"), Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T2"}`)}
	with := func(m events.Message, headers ...events.Header) events.Message {
		m.Headers = append(slices.Clone(m.Headers), headers...)
		return m
	}
	asked, err := events.EncodeRequest(events.Request{
		MchID: "1900000109", OutTradeNo: "T2", RequestID: "e-1",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}, "/shop", noon)
	if err != nil {
		panic(err)
	}
	return map[string]events.Message{
		"plain":                                  plain,
		"nothing at all":                         {},
		"empty, not null":                        {Key: []byte{}, Value: []byte{}},
		"bytes that are no text":                 {Key: []byte{0, 0xff}, Value: []byte{0x1f, 0x8b}, Headers: []events.Header{{Key: "b", Value: []byte{0xff, 0}}}},
		"a CloudEvent":                           with(plain, asked.Headers...),
		"headers twice, null, empty, nameless":   with(plain, events.Header{Key: "a", Value: []byte("1")}, events.Header{Key: "a", Value: []byte("2")}, events.Header{Key: "n", Value: nil}, events.Header{Key: "e", Value: []byte{}}, events.Header{Key: "", Value: []byte("x")}),
		"a replay":                               with(plain, events.Header{Key: "x", Value: []byte("y")}, events.Header{Key: events.HeaderReplay, Value: []byte("1")}),
		"a replay with a header after its own":   with(plain, events.Header{Key: events.HeaderReplay, Value: []byte("1")}, events.Header{Key: "x", Value: []byte("y")}),
		"a lone header with one of our names":    with(plain, events.Header{Key: headerErrorCode, Value: []byte("X")}),
		"a dead letter that was sent as request": EncodeDeadLetter(DeadLetter{Original: plain, ErrorCode: "OLD", FailedAt: noon, Source: source}),
		"a retry record that was sent as request": EncodeRetry(Retry{Original: plain, DueAt: noon, Source: source,
			Retries: 3}),
		"both, one in the other": EncodeDeadLetter(DeadLetter{
			Original: EncodeRetry(Retry{Original: plain, DueAt: noon}), FailedAt: noon}),
	}
}

func sampleDeadLetter(original events.Message) DeadLetter {
	return DeadLetter{
		Original: original, ErrorCode: events.CodeUnknownMerchant, ErrorMessage: "merchant 1900000109 is not configured\n第二行",
		FailedAt: noon.Add(time.Nanosecond), Calls: 3, Replay: 1, Source: source, SourceTimestamp: noon.Add(-time.Second),
	}
}

func sampleRetry(original events.Message) Retry {
	return Retry{
		Original: original, DueAt: noon.Add(time.Minute), Retries: 2, Calls: 5,
		Code: "SYSTEMERROR", Reason: "the gateway asks to try again", FirstRequestedAt: noon.Add(-time.Hour),
		Replay: 1, Source: source, SourceTimestamp: noon.Add(-time.Second),
	}
}

func TestDeadLettersOnTheWire(t *testing.T) {
	original := originals()["a CloudEvent"]
	omitted := sampleDeadLetter(original)
	omitted.ValueOmitted = "the broker takes at most 1048588 bytes"
	standIn := sampleDeadLetter(original)
	standIn.Original.Key, standIn.StandInKey = nil, true
	for name, d := range map[string]DeadLetter{
		"unknown-merchant": sampleDeadLetter(original),
		"value-omitted":    omitted,
		"stand-in-key":     standIn,
		"least":            {FailedAt: noon},
	} {
		checkGolden(t, "dead-letters/"+name+".json", EncodeDeadLetter(d))
	}
}

func TestRetryRecordsOnTheWire(t *testing.T) {
	checkGolden(t, "retries/system-error.json", EncodeRetry(sampleRetry(originals()["a CloudEvent"])))
	checkGolden(t, "retries/least.json", EncodeRetry(Retry{DueAt: noon}))
	held := sampleRetry(originals()["a CloudEvent"])
	held.Held, held.WaitsFor = 90*time.Minute+1500*time.Microsecond, WaitsForSubMerchant
	checkGolden(t, "retries/held.json", EncodeRetry(held))
}

// A topic that takes no record without a key gets one, and the original comes
// back without.
func TestAStandInKeyComesOffAgain(t *testing.T) {
	for sentence, original := range originals() {
		if original.Key != nil {
			continue
		}
		t.Run(sentence, func(t *testing.T) {
			d, r := sampleDeadLetter(original), sampleRetry(original)
			d.StandInKey, r.StandInKey = true, true
			deadLetter, retry := EncodeDeadLetter(d), EncodeRetry(r)
			for _, m := range []events.Message{deadLetter, retry} {
				if string(m.Key) != "closeorder.requests/3/42" {
					t.Errorf("key %q", m.Key)
				}
			}
			gotD, err := DecodeDeadLetter(deadLetter)
			if err != nil || !reflect.DeepEqual(gotD, d) || !sameMessage(gotD.Original, original) {
				t.Errorf("dead letter %+v, %v", gotD, err)
			}
			if m, err := gotD.ReplayMessage(); err != nil || m.Key != nil {
				t.Errorf("replay with key %q, %v", m.Key, err)
			}
			gotR, err := DecodeRetry(retry)
			if err != nil || !reflect.DeepEqual(gotR, r) || !sameMessage(gotR.Original, original) {
				t.Errorf("retry record %+v, %v", gotR, err)
			}
		})
	}
}

// What says that a key is a stand-in and is none of ours makes no key vanish.
func TestAStrangeStandInKeyIsRefused(t *testing.T) {
	m := EncodeDeadLetter(sampleDeadLetter(originals()["plain"]))
	m.Headers = append(m.Headers, events.Header{Key: headerStandInKey, Value: []byte("yes")})
	if d, err := DecodeDeadLetter(m); err == nil || string(d.Original.Key) != "T2" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestTheOriginalComesBackByteForByte(t *testing.T) {
	for sentence, original := range originals() {
		t.Run(sentence, func(t *testing.T) {
			before := clone(original)
			d := sampleDeadLetter(original)
			gotD, err := DecodeDeadLetter(EncodeDeadLetter(d))
			if err != nil || !sameMessage(gotD.Original, original) {
				t.Errorf("dead letter: %v\n%+v\n%+v", err, gotD.Original, original)
			}
			gotD.Original = d.Original
			if !reflect.DeepEqual(gotD, d) {
				t.Errorf("dead letter\n%+v\nwas\n%+v", gotD, d)
			}

			r := sampleRetry(original)
			r.Held, r.WaitsFor = time.Minute, WaitsForMerchant
			gotR, err := DecodeRetry(EncodeRetry(r))
			if err != nil || !sameMessage(gotR.Original, original) {
				t.Errorf("retry record: %v\n%+v\n%+v", err, gotR.Original, original)
			}
			gotR.Original = r.Original
			if !reflect.DeepEqual(gotR, r) {
				t.Errorf("retry record\n%+v\nwas\n%+v", gotR, r)
			}
			if !sameMessage(before, original) {
				t.Error("the original was changed")
			}
		})
	}
}

func TestHeadersDoNotPileUp(t *testing.T) {
	for sentence, original := range originals() {
		t.Run(sentence, func(t *testing.T) {
			r := sampleRetry(original)
			m := EncodeRetry(r)
			size := len(m.Headers)
			for hop := range 20 {
				back, err := DecodeRetry(m)
				if err != nil {
					t.Fatal(err)
				}
				back.Retries, back.DueAt = hop, noon.Add(time.Duration(hop)*time.Hour)
				if m = EncodeRetry(back); len(m.Headers) != size {
					t.Fatalf("%d headers after hop %d, %d at first", len(m.Headers), hop, size)
				}
				if back.Source != r.Source || !back.FirstRequestedAt.Equal(r.FirstRequestedAt) {
					t.Fatal("the first record is forgotten")
				}
			}
			back, err := DecodeRetry(m)
			if err != nil {
				t.Fatal(err)
			}
			d, err := DecodeDeadLetter(EncodeDeadLetter(sampleDeadLetter(back.Original)))
			if err != nil || !sameMessage(d.Original, original) {
				t.Errorf("after 20 hops and a dead letter: %v\n%+v", err, d.Original)
			}
		})
	}
}

func TestARetryRecordStillDecodesAsTheRequestItIs(t *testing.T) {
	original := originals()["a CloudEvent"]
	want, err := events.DecodeRequest(original)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeRetry(EncodeRetry(sampleRetry(original)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := events.DecodeRequest(back.Original)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReplays(t *testing.T) {
	for sentence, original := range originals() {
		t.Run(sentence, func(t *testing.T) {
			var foreign []events.Header
			for _, h := range original.Headers {
				if h.Key != events.HeaderReplay {
					foreign = append(foreign, h)
				}
			}
			m := original
			for replay := 1; replay <= 5; replay++ {
				d := DeadLetter{Original: m, ErrorCode: "X", FailedAt: noon, Replay: replay - 1, Source: source}
				letter, err := DecodeDeadLetter(EncodeDeadLetter(d))
				if err != nil {
					t.Fatal(err)
				}
				if m, err = letter.ReplayMessage(); err != nil {
					t.Fatal(err)
				}
				got, err := events.DecodeRequest(m)
				if got.Replay != replay || err != nil && strings.Contains(err.Error(), events.HeaderReplay) {
					t.Fatalf("replay number %d %v, want %d", got.Replay, err, replay)
				}
				last := len(m.Headers) - 1
				want := original
				want.Headers = foreign
				if got := (events.Message{Key: m.Key, Value: m.Value, Headers: m.Headers[:last]}); !sameMessage(got, want) {
					t.Fatalf("replay %d is\n%+v\nof\n%+v", replay, got, want)
				}
			}
		})
	}
}

func TestAReplayNeedsTheValue(t *testing.T) {
	d := sampleDeadLetter(originals()["plain"])
	d.ValueOmitted = "too large"
	letter, err := DecodeDeadLetter(EncodeDeadLetter(d))
	if err != nil || letter.Original.Value != nil || letter.ValueOmitted != "too large" {
		t.Fatalf("%+v, %v", letter, err)
	}
	if _, err := letter.ReplayMessage(); !errors.Is(err, ErrValueOmitted) {
		t.Errorf("got %v", err)
	}
	letter.Original.Value, letter.ValueOmitted = d.Original.Value, ""
	if m, err := letter.ReplayMessage(); err != nil || string(m.Value) != string(d.Original.Value) {
		t.Errorf("with the value back: %v, %v", m, err)
	}
}

func TestEncodingNeverWritesIntoTheOriginal(t *testing.T) {
	headers := make([]events.Header, 1, 100)
	headers[0] = events.Header{Key: "a", Value: []byte("1")}
	original := events.Message{Headers: headers}
	EncodeDeadLetter(DeadLetter{Original: original})
	EncodeRetry(Retry{Original: original})
	record := EncodeDeadLetter(DeadLetter{Original: original, FailedAt: noon})
	before := clone(record)
	letter, err := DecodeDeadLetter(record)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(letter.Original.Headers, events.Header{Key: "b", Value: nil})
	if !sameMessage(record, before) {
		t.Error("an append to the original wrote into the record it came from")
	}
	for _, h := range headers[:cap(headers)][1:] {
		if h.Key != "" {
			t.Fatalf("wrote %+v", h)
		}
	}
}

// Whatever stands in the fields, what is written can be read.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	far := time.UnixMilli(1 << 60)
	for sentence, d := range map[string]DeadLetter{
		"zero values":        {},
		"times out of range": {FailedAt: far, SourceTimestamp: far},
		"times before all":   {FailedAt: far.AddDate(-300000000, 0, 0), SourceTimestamp: time.UnixMilli(-1 << 60)},
		"numbers below zero": {Calls: -1, Replay: -1, Source: events.Source{Partition: -1, Offset: -1}},
		"a long message":     {ErrorMessage: strings.Repeat("签", 5000), ValueOmitted: strings.Repeat("x", 5000)},
	} {
		m := EncodeDeadLetter(d)
		back, err := DecodeDeadLetter(m)
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
		if !sameMessage(EncodeDeadLetter(back), m) {
			t.Errorf("%s: changes on the second way", sentence)
		}
		if len(back.ErrorMessage) > maxErrorMessage || len(d.ErrorMessage) > 0 && back.ErrorMessage != strings.Repeat("签", maxErrorMessage/3) {
			t.Errorf("%s: message of %d bytes", sentence, len(back.ErrorMessage))
		}
		retry := EncodeRetry(Retry{DueAt: d.FailedAt, FirstRequestedAt: d.SourceTimestamp, Calls: d.Calls, Source: d.Source, Reason: d.ErrorMessage})
		if r, err := DecodeRetry(retry); err != nil || !sameMessage(EncodeRetry(r), retry) {
			t.Errorf("%s: retry: %v", sentence, err)
		}
	}
}

func TestBadRecordsAreNamed(t *testing.T) {
	good := EncodeDeadLetter(sampleDeadLetter(originals()["plain"]))
	set := func(key, value string) func(m *events.Message) {
		return func(m *events.Message) {
			for i := range m.Headers {
				if m.Headers[i].Key == key {
					m.Headers[i].Value = []byte(value)
				}
			}
		}
	}
	remove := func(key string) func(m *events.Message) {
		return func(m *events.Message) {
			m.Headers = slices.DeleteFunc(m.Headers, func(h events.Header) bool { return h.Key == key })
		}
	}
	for sentence, c := range map[string]struct {
		change func(m *events.Message)
		want   string
	}{
		"attempts that are no number": {set(headerAttempts, "many"), `closeorder-attempts: is "many", want a whole number from 0 to 2147483647`},
		"attempts below zero":         {set(headerAttempts, "-1"), `closeorder-attempts: is "-1", want a whole number from 0 to 2147483647`},
		"no time":                     {remove(headerFailedAt), "closeorder-failed-at: is required"},
		"an empty time":               {set(headerFailedAt, ""), "closeorder-failed-at: is empty"},
		"a time that is none":         {set(headerFailedAt, "noon"), `closeorder-failed-at: is "noon", want an RFC 3339 time such as 2025-11-23T20:00:00+08:00`},
		"no place, all of it named": {func(m *events.Message) {
			remove(headerSourceTopic)(m)
			remove(headerSourcePartition)(m)
			remove(headerSourceOffset)(m)
		}, "closeorder-source-topic: is required; closeorder-source-partition: is required; closeorder-source-offset: is required"},
		"an offset beyond 63 bits": {set(headerSourceOffset, "9223372036854775808"), `closeorder-source-offset: is "9223372036854775808", want an offset`},
		"one of our headers twice": {func(m *events.Message) {
			m.Headers = append(m.Headers, events.Header{Key: headerAttempts, Value: []byte("4")})
		}, "closeorder-attempts: occurs more than once"},
		"a long value is shown in part": {set(events.HeaderReplay, strings.Repeat("9", 1000)), `closeorder-replay: is "9999999999999999999999999999999999999999"..., want a whole number from 0 to 2147483647`},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := clone(good)
			c.change(&m)
			if _, err := DecodeDeadLetter(m); err == nil || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

// What stands in the optional headers of a retry record can neither cost the
// request nor make its order older than workers have measured.
func TestOptionalHeadersOfARetryAreBelievedOnlyWhereTheyAreRight(t *testing.T) {
	for sentence, c := range map[string]struct {
		held, waitsFor []string
		wantHeld       time.Duration
		wantWaitsFor   string
	}{
		"an older worker's record has neither":      {},
		"milliseconds":                              {held: []string{"5400001"}, wantHeld: 90*time.Minute + time.Millisecond},
		"the most":                                  {held: []string{"31622400000"}, wantHeld: maxHeld},
		"more than that counts as none":             {held: []string{"31622400001"}},
		"far more counts as none":                   {held: []string{"9223372036854775808"}},
		"below zero counts as none":                 {held: []string{"-1"}},
		"a duration in words counts as none":        {held: []string{"90m"}},
		"nothing counts as none":                    {held: []string{""}},
		"twice counts as none":                      {held: []string{"1", "5400000"}},
		"the merchant":                              {waitsFor: []string{WaitsForMerchant}, wantWaitsFor: WaitsForMerchant},
		"a part of it":                              {waitsFor: []string{WaitsForBoth}, wantWaitsFor: WaitsForBoth},
		"a wait that nobody knows counts as none":   {waitsFor: []string{"godot"}},
		"two waits count as none":                   {waitsFor: []string{WaitsForMerchant, WaitsForAppID}},
		"one that is wrong does not cost the other": {held: []string{"x"}, waitsFor: []string{WaitsForAppID}, wantWaitsFor: WaitsForAppID},
	} {
		m := EncodeRetry(sampleRetry(originals()["plain"]))
		for _, v := range c.held {
			m.Headers = append(m.Headers, events.Header{Key: headerHeld, Value: []byte(v)})
		}
		for _, v := range c.waitsFor {
			m.Headers = append(m.Headers, events.Header{Key: headerWaitsFor, Value: []byte(v)})
		}
		r, err := DecodeRetry(m)
		if err != nil || r.Held != c.wantHeld || r.WaitsFor != c.wantWaitsFor {
			t.Errorf("%s: held %v, waits for %q, %v", sentence, r.Held, r.WaitsFor, err)
		}
		if !sameMessage(r.Original, originals()["plain"]) {
			t.Errorf("%s: the original has changed", sentence)
		}
	}
	for held, want := range map[time.Duration]time.Duration{
		-time.Hour: 0, 999 * time.Microsecond: 0, 1999 * time.Microsecond: time.Millisecond, 10 * maxHeld: maxHeld,
	} {
		if r, err := DecodeRetry(EncodeRetry(Retry{DueAt: noon, Held: held})); err != nil || r.Held != want {
			t.Errorf("%v came back as %v, %v", held, r.Held, err)
		}
	}
}

func TestARecordThatIsNoneOfOursIsLeftWhole(t *testing.T) {
	for sentence, m := range originals() {
		if d, err := DecodeDeadLetter(m); err != nil && !sameMessage(d.Original, m) {
			t.Errorf("%s: %+v, %v", sentence, d.Original, err)
		}
	}
	plain := originals()["plain"]
	if _, err := DecodeDeadLetter(plain); err == nil || !strings.Contains(err.Error(), "closeorder-error-code: is required") {
		t.Errorf("plain: %v", err)
	}
	if _, err := DecodeRetry(plain); err == nil || !strings.Contains(err.Error(), "closeorder-due-at: is required") {
		t.Errorf("plain: %v", err)
	}
	if _, err := DecodeDeadLetter(EncodeRetry(sampleRetry(plain))); err == nil {
		t.Error("a retry record was read as a dead letter")
	}
	if _, err := DecodeRetry(EncodeDeadLetter(sampleDeadLetter(plain))); err == nil {
		t.Error("a dead letter was read as a retry record")
	}
}

func TestWhatABridgeAddsIsNoPartOfTheOriginal(t *testing.T) {
	plain := originals()["a CloudEvent"]
	m := EncodeDeadLetter(sampleDeadLetter(plain))
	m.Headers = append(m.Headers, events.Header{Key: "bridge", Value: []byte("eu-1")})
	d, err := DecodeDeadLetter(m)
	if err != nil || !sameMessage(d.Original, plain) {
		t.Errorf("%+v, %v", d.Original, err)
	}
}
