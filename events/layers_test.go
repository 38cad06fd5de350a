package events

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

const inner = `{"mch_id":"1900000109","out_trade_no":"T2","reason":"买家 \"<&>\"","metadata":{ "n": 1.00 }}`

func quotedJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// layersByName are what producers put round a document.
var layersByName = map[string]func(doc string) string{
	"string":     quotedJSON,
	"Connect":    func(doc string) string { return `{"schema":{"type":"struct","fields":[]},"payload":` + doc + `}` },
	"schemaless": func(doc string) string { return `{"payload": ` + doc + `, "schema": null}` },
	"event": func(doc string) string {
		return `{"specversion":"1.0","type":"closeorder.requested","data":` + doc + `}`
	},
	"event base64": func(doc string) string { return `{"id":"e","specversion":"1.0","data_base64":"` + encode64(doc) + `"}` },
	"base64":       func(doc string) string { return `"` + encode64(doc) + `"` },
	"white space":  func(doc string) string { return " \r\n\t" + doc + "\n" },
}

var prefixes = map[string]string{
	"":          "",
	"Confluent": "\x00\x00\x01\xe2\x40",
	"Apicurio":  "\x00\x00\x00\x00\x00\x00\x00\x01\x00",
	"Glue":      "\x03\x000123456789abcdef",
}

func encode64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// Layers may stand in any order. What is inside comes out as if it had stood
// there alone, the metadata byte for byte.
func TestLayersInAnyOrder(t *testing.T) {
	want, err := DecodeRequest(Message{Value: []byte(inner)})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range layersByName {
		names = append(names, name)
	}
	// Every pair, then longer ones at random.
	var ways [][]string
	for _, a := range names {
		ways = append(ways, []string{a})
		for _, b := range names {
			ways = append(ways, []string{a, b})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var way []string
		for range 3 + random.IntN(2) {
			way = append(way, names[random.IntN(len(names))])
		}
		ways = append(ways, way)
	}
	for _, way := range ways {
		doc := inner
		for _, name := range way {
			doc = layersByName[name](doc)
		}
		for prefixName, prefix := range prefixes {
			m := Message{Value: []byte(prefix + doc)}
			got, err := DecodeRequest(m)
			got.RequestID = want.RequestID // an event's id in some
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, behind %q: %v\n%+v\nfrom %q", strings.Join(way, " in "), prefixName, err, got, m.Value)
			}
		}
	}
}

// Wherever a record breaks off behind its order, the order is named.
func TestALayerThatBreaksOffNamesTheOrder(t *testing.T) {
	doc := `{"mch_id":"1900000109","out_trade_no":"T2","reason":"payment_timeout"}`
	for name, wrap := range layersByName {
		if strings.Contains(name, "base64") {
			continue // of half a text in base64 nothing can be said
		}
		for prefixName, prefix := range prefixes {
			whole := prefix + wrap(doc)
			from := strings.Index(whole, "T2") + len(`T2\",`)
			for end := from; end < len(whole); end++ {
				if strings.Trim(whole[end:], " \n") == "" {
					continue // is whole
				}
				r, err := DecodeRequest(Message{Value: []byte(whole[:end])})
				if err == nil || r.OutTradeNo != "T2" || r.MchID != "1900000109" {
					t.Fatalf("%s, %s: %q: %q %q, %v", prefixName, name, whole[:end], r.MchID, r.OutTradeNo, err)
				}
			}
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	for depth := range 12 {
		doc := inner
		for range depth {
			doc = `{"schema":null,"payload":` + doc + `}`
		}
		_, err := DecodeRequest(Message{Value: []byte(doc)})
		want := ""
		if depth > maxLayers {
			want = fmt.Sprintf("unreadable record: value is wrapped more than %d times, send the JSON itself", maxLayers)
		}
		if errorText(err) != want {
			t.Errorf("%d layers: %v", depth, err)
		}
	}
}

func TestUnframe(t *testing.T) {
	for sentence, c := range map[string]struct {
		doc, inner string
		prefix     int
	}{
		"no prefix":                            {`{"a":1}`, "", 0},
		"Confluent's":                          {"\x00\x00\x00\x00\x07{}", "{}", 5},
		"an id that looks like JSON":           {"\x00{\"{\"{}", "{}", 5},
		"Confluent's, a string behind it":      {"\x00\x00\x00\x00\x07 \"x\"", " \"x\"", 5},
		"Apicurio's":                           {"\x00\x00\x00\x00\x00\x00\x00\x00\x07{}", "{}", 9},
		"Glue's":                               {"\x03\x000123456789abcdef{}", "{}", 18},
		"Glue's, compressed, is left alone":    {"\x03\x050123456789abcdef{}", "", 0},
		"something else behind it":             {"\x00\x00\x00\x00\x07\x02T2", "", 5},
		"an array behind it is no request":     {"\x00\x00\x00\x00\x07[]", "", 5},
		"nothing behind it is no prefix":       {"\x00\x00\x00\x00\x07", "", 0},
		"another version of the prefix is not": {"\x01\x00\x00\x00\x07{}", "", 0},
	} {
		inner, prefix := unframe([]byte(c.doc))
		if string(inner) != c.inner || prefix != c.prefix {
			t.Errorf("%s: %q, %d", sentence, inner, prefix)
		}
	}
}

func TestUnbase64(t *testing.T) {
	for text, want := range map[string]string{
		encode64(`{"a":1}`):       `{"a":1}`,
		encode64("\n {\"a\":1}"):  "\n {\"a\":1}",
		encode64(`"{}"`):          `"{}"`,
		encode64(`{"a":1`):        "",
		encode64(`[]`):            "",
		encode64(`12`):            "",
		encode64("\x00\x01"):      "",
		`true`:                    "",
		`1234`:                    "",
		`{}`:                      "",
		"":                        "",
		encode64(`{"a":1}`)[:5]:   "",
		encode64(`{"a":1}`) + "*": "",
	} {
		if got := string(unbase64([]byte(text))); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestUnconnect(t *testing.T) {
	for doc, want := range map[string]struct {
		isConnect        bool
		payload, problem string
	}{
		`{"schema":null,"payload":{}}`:          {true, "{}", ""},
		`{"schema":{"a":1},"payload":"x"}`:      {true, `"x"`, ""},
		`{"payload":{},"schema":null}`:          {true, "{}", ""},
		`{"schema":null,"payload":null}`:        {true, "", "payload: is null, want an object or a string with JSON in it"},
		`{"schema":null,"payload":[{}]}`:        {true, "", "payload: is an array, want an object or a string with JSON in it"},
		`{"payload":{}}`:                        {false, "", ""},
		`{"schema":{}}`:                         {false, "", ""},
		`{"schema":null,"payload":{},"x":1}`:    {false, "", ""},
		`{"payload":{},"payload":{}}`:           {false, "", ""},
		`{"schema":null,"Payload":{}}`:          {false, "", ""},
		`{"schema":null,"schema":1,"x":1}`:      {false, "", ""},
		`{"sch\u0065ma":null,"payload":{"a":1}`: {true, `{"a":1}`, ""}, // breaks off
	} {
		var p problems
		o := scanObject([]byte(doc), layerWords, json.Valid([]byte(doc)))
		payload, isConnect := unconnect(&o, &p)
		if isConnect != want.isConnect || string(payload) != want.payload || errorText(p.err()) != want.problem {
			t.Errorf("%s: %v %s %v", doc, isConnect, payload, p)
		}
	}
}

func TestIsEvent(t *testing.T) {
	for doc, want := range map[string]bool{
		`{"specversion":"1.0","id":"e","data":{}}`:             true,
		`{"specversion":"1.0","type":"t","data":{}}`:           true,
		`{"specversion":"1.0","source":"/s","data_base64":""}`: true,
		`{"specversion":null,"id":null,"data":null}`:           true,
		`{"SpecVersion":"1.0","Id":"e","Data":{}}`:             true,
		`{"spec_version":"1.0","ID":"e","dataBase64":"x"}`:     true,
		`{"specversion":"1.0","data":{}}`:                      false,
		`{"specversion":"1.0","id":"e"}`:                       false,
		`{"id":"e","type":"t","data":{}}`:                      false,
		`{"specversions":"1.0","id":"e","data":{}}`:            false,
		`{}`: false,
	} {
		o := scanObject([]byte(doc), layerWords, true)
		if isEvent(&o) != want {
			t.Errorf("%s: want %v", doc, want)
		}
	}
}

func TestAnOutcomeInLayersIsRead(t *testing.T) {
	m, err := EncodeOutcome(sampleOutcomes()["closed"])
	if err != nil {
		t.Fatal(err)
	}
	want, err := DecodeOutcome(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"string", "Connect", "base64"} {
		wrapped := m
		wrapped.Value = []byte(prefixes["Confluent"] + layersByName[name](string(m.Value)))
		if got, err := DecodeOutcome(wrapped); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v", name, err, got)
		}
	}
}
