package events

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// checkOutcomeJSON holds what is written of o to what encoding/json makes of it.
func checkOutcomeJSON(t *testing.T, o Outcome) {
	t.Helper()
	o.RequestedAt, o.CompletedAt = o.RequestedAt.UTC(), o.CompletedAt.UTC()
	got := append(o.appendJSON(nil), '}')
	o.Metadata = nil
	want, err := marshal(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Fatalf("written as\n%s\nwant\n%s", got, want)
	}
}

func TestOutcomesAreWrittenAsTheirTagsSay(t *testing.T) {
	for _, o := range sampleOutcomes() {
		checkOutcomeJSON(t, o)
	}
	checkOutcomeJSON(t, Outcome{Gateway: &Gateway{}})
	for name, s := range map[string]string{
		"controls":        "\x00\x01\b\f\n\r\t\x1f\x7f",
		"quotes":          `"\/`,
		"HTML":            "<a href=''>&</a>",
		"Chinese":         "订单已支付",
		"beyond the BMP":  "😀\U0010ffff",
		"line separators": "a\u2028b\u2029c",
		"no UTF-8":        "a\xff\xc3(\xed\xa0\x80",
		"cut off":         "订\xe5\x8d",
		"replacement":     "\ufffd",
	} {
		t.Run(name, func(t *testing.T) {
			o := sampleOutcomes()["paid"]
			g := *o.Gateway
			o.Gateway = &g
			o.Message, g.ErrCodeDes, o.Result = s, s, Result(s)
			checkOutcomeJSON(t, o)
		})
	}
}

// Any fields may be there and any not: also those that are new.
func TestAnyFieldsOfAnOutcomeAreWrittenAsTheirTagsSay(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "", "x", "订单 <&>", "\"\n\xff\u2028"}
	var fill func(v reflect.Value)
	fill = func(v reflect.Value) {
		switch to := v.Addr().Interface().(type) {
		case *json.RawMessage:
			return
		case *time.Time:
			if random.IntN(3) > 0 {
				*to = noon.Add(time.Duration(random.Int64N(1 << 55)))
			}
			return
		}
		switch v.Kind() {
		case reflect.String:
			v.SetString(texts[random.IntN(len(texts))])
		case reflect.Bool:
			v.SetBool(random.IntN(2) == 0)
		case reflect.Int, reflect.Int64:
			v.SetInt((random.Int64() - 1<<62) * random.Int64N(2))
		case reflect.Pointer:
			if random.IntN(4) > 0 {
				v.Set(reflect.New(v.Type().Elem()))
				fill(v.Elem())
			}
		case reflect.Struct:
			for _, field := range v.Fields() {
				fill(field)
			}
		case reflect.Slice: // the record key, which is no part of it
		default:
			t.Fatalf("a %s: say here how it is filled", v.Type())
		}
	}
	for range 5000 {
		var o Outcome
		fill(reflect.ValueOf(&o).Elem())
		checkOutcomeJSON(t, o)
	}
}

func FuzzOutcomeJSON(f *testing.F) {
	f.Add("T1", "订单已支付", "a\"\\\n", "\xff\u2028", int64(0), int64(7), int64(1e18), true)
	f.Fuzz(func(t *testing.T, order, message, code, described string, fee, at, requested int64, gateway bool) {
		o := Outcome{Result: Result(code), OutTradeNo: order, Message: message, Code: code, Attempts: int(fee), CompletedAt: time.Unix(0, at), Source: Source{Topic: order, Offset: at}}
		if requested != 0 {
			o.RequestedAt = time.Unix(0, requested)
		}
		if gateway {
			o.Gateway = &Gateway{Host: code, ErrCodeDes: described, TotalFee: fee, TimeEnd: message}
		}
		checkOutcomeJSON(t, o)
	})
}

// The value and the headers' values are one piece of memory; the headers are another.
func TestAnOutcomeIsWrittenInTwoPiecesOfMemory(t *testing.T) {
	for name, o := range sampleOutcomes() {
		m, err := EncodeOutcome(o)
		if err != nil {
			t.Fatal(err)
		}
		most := 2.0
		if len(o.Key) == 0 && len(m.Key) > 0 {
			most++ // the key, of its own
		}
		if got := testing.AllocsPerRun(100, func() { EncodeOutcome(o) }); got > most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, most)
		}
		size := len(m.Value)
		for _, h := range m.Headers {
			size += len(h.Value)
		}
		if about := o.size(); about < size || about > size*3/2 {
			t.Errorf("%s: takes %d bytes, and %d are made for it", name, size, about)
		}
		// What a caller appends to one must not reach the next.
		before := m.Clone()
		_ = append(m.Value, "xxx"...)
		for _, h := range m.Headers {
			_ = append(h.Value, "xxx"...)
		}
		if !sameMessage(m, before) {
			t.Errorf("%s: an append to one value has changed another", name)
		}
	}
}
