package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/records"
)

// The tables of contract.md, by their headers.
var (
	topicTable   = []string{"topic", "written by", "key", "value"}
	requestTable = []string{"field of a request", "type", "at most", "required", ""}
	eventTable   = []string{"header", "attribute", ""}
	servedTable  = []string{"beside the required fields", ""}
	outcomeTable = []string{"field of an outcome", "type", "when", ""}
	actTable     = []string{"outcome", "`safe_to_reissue`", ""}
	codeTable    = []string{"outcome", "code", "it means", "do"}
	onTheWay     = []string{"code on the way", "it means"}
	headerTable  = []string{"header of ours", "in a dead letter", "in a retry record", ""}
)

const servedSection = "What is served, ignored, refused"

// onlyName is the one thing in backticks of a cell.
func onlyName(t *testing.T, r row) string {
	t.Helper()
	names := code(r.cells[0])
	if len(names) != 1 {
		t.Fatalf("line %d: %q does not name one thing", r.number, r.cells[0])
	}
	return names[0]
}

// field is a member of the JSON of a type, as its tag says.
type field struct {
	kind     string // text, number, time, object, true or false
	optional bool
}

// fieldsOf returns the members of a struct by name, those of nested ones with
// the name of their parent in front.
func fieldsOf(t *testing.T, typ reflect.Type, parent string) map[string]field {
	t.Helper()
	all := make(map[string]field)
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		of := field{optional: strings.Contains(options, "omit")}
		switch {
		case inner == reflect.TypeFor[time.Time]():
			of.kind = "time"
		case inner == reflect.TypeFor[json.RawMessage]():
			of.kind = "object"
		case inner.Kind() == reflect.Struct:
			of.kind = "object"
			maps.Copy(all, fieldsOf(t, inner, parent+name+"."))
		case inner.Kind() == reflect.String:
			of.kind = "text"
		case inner.Kind() == reflect.Bool:
			of.kind = "true or false"
		case inner.Kind() >= reflect.Int && inner.Kind() <= reflect.Int64:
			of.kind = "number"
		default:
			t.Fatalf("%s is a %s, for which there is no word", name, inner)
		}
		all[parent+name] = of
	}
	return all
}

// same complains of what only one of two sets has.
func same[V, W any](t *testing.T, what string, page map[string]V, is map[string]W) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(page)) {
		if _, ok := is[name]; !ok {
			t.Errorf("%s: the page has %s, which there is not", what, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		if _, ok := page[name]; !ok {
			t.Errorf("%s: %s is not on the page", what, name)
		}
	}
}

// sizeOf reads 32 bytes or 4 KiB.
func sizeOf(t *testing.T, where, text string) int {
	t.Helper()
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	switch {
	case err == nil && unit == "bytes":
		return n
	case err == nil && unit == "KiB":
		return n << 10
	}
	t.Fatalf("%s: %q is no size, want so many bytes or KiB", where, text)
	return 0
}

// flaws are what a request is refused for; of one that cannot be read at all,
// its value.
func flaws(value string) []events.FieldError {
	_, err := events.DecodeRequest(events.Message{Value: []byte(value)})
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[*events.ValidationError](err); ok {
		return invalid.Fields
	}
	return []events.FieldError{{Field: "value", Problem: err.Error()}}
}

// refusedFor reports whether a request is refused for a field.
func refusedFor(value, field string) bool {
	return slices.ContainsFunc(flaws(value), func(f events.FieldError) bool { return f.Field == field })
}

// spelling is a text without case, blanks and what joins words.
func spelling(text string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(text))
}

// asking is a request of mch_id, out_trade_no and some members, none of them
// twice unless members has it twice. A member that is one of the two but for
// its spelling stands for it.
func asking(members string) string {
	for _, required := range []string{`"out_trade_no":"T9"`, `"mch_id":"1900000109"`} {
		name, _, _ := strings.Cut(required, ":")
		if strings.Contains(spelling(members), spelling(name)+":") {
			continue
		}
		if members != "" {
			members = "," + members
		}
		members = required + members
	}
	return "{" + members + "}"
}

func TestContractHasTheFieldsOfARequest(t *testing.T) {
	is := fieldsOf(t, reflect.TypeFor[events.Request](), "")
	page := make(map[string]row)
	bounds := make(map[string]int)
	for _, r := range readPage(t, "contract.md").table(t, requestTable...).rows {
		name := onlyName(t, r)
		page[name] = r
		if kind := is[name].kind; r.cells[1] != kind {
			t.Errorf("%s is %q on the page and %q in the code", name, r.cells[1], kind)
		}

		var others string
		for _, each := range []string{"out_trade_no", "mch_id"} {
			if each != name {
				others += `,"` + each + `":"1900000109"`
			}
		}
		required := refusedFor("{"+others[1:]+"}", name)
		if (r.cells[3] == "yes") != required || !required && r.cells[3] != "no" {
			t.Errorf("%s: required is %q on the page and %v in the code", name, r.cells[3], required)
		}

		if strings.Contains(r.cells[4], "letters, digits") {
			marks := strings.Join(code(r.cells[4]), "")
			for c := rune(' '); c < 0x7f; c++ {
				if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
					continue
				}
				value, err := json.Marshal(fmt.Sprintf("a%cb", c))
				if err != nil {
					t.Fatal(err)
				}
				if refused := refusedFor(asking(fmt.Sprintf("%q:%s", name, value)), name); refused == strings.ContainsRune(marks, c) {
					t.Errorf("%s with %q in it: refused is %v, the page allows %q", name, c, refused, marks)
				}
			}
		}

		if r.cells[1] == "time" {
			if r.cells[2] != "" {
				t.Errorf("%s is a time and has a bound", name)
			}
			continue
		}
		bound := sizeOf(t, name, r.cells[2])
		bounds[name] = bound
		for size, refused := range map[int]bool{bound: false, bound + 1: true} {
			member := fmt.Sprintf(`%q:"%s"`, name, strings.Repeat("1", size))
			if r.cells[1] == "object" {
				const around = len(`{"a":""}`)
				member = fmt.Sprintf(`%q:{"a":"%s"}`, name, strings.Repeat("1", size-around))
			}
			if name == "sub_appid" {
				member += `,"sub_mch_id":"1"`
			}
			if got := refusedFor(asking(member), name); got != refused {
				t.Errorf("%s of %d bytes: refused is %v, the page says at most %d", name, size, got, bound)
			}
		}
	}
	same(t, "fields of a request", page, is)

	// Every bound of the code has its place on the page.
	text, err := os.ReadFile("contract.md")
	if err != nil {
		t.Fatal(err)
	}
	said := func(pattern string) int {
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("the page does not say %q", pattern)
		}
		return sizeOf(t, pattern, string(m[1]))
	}
	places := map[string][]int{
		"MaxOutTradeNo":   {bounds["out_trade_no"], bounds["replacement_out_trade_no"]},
		"MaxAccountID":    {bounds["mch_id"], bounds["appid"], bounds["sub_mch_id"], bounds["sub_appid"]},
		"MaxRequestID":    {bounds["request_id"], said("`ce_id`.*; at most (\\d+ bytes) then")},
		"MaxReason":       {bounds["reason"]},
		"MaxMetadata":     {bounds["metadata"]},
		"MaxRequest":      {said("The whole value has at most (\\d+ KiB)")},
		"maxErrorMessage": {said("`closeorder-error-message`.*at most (\\d+ KiB)")},
	}
	maxima := make(map[string]bool)
	for name, c := range wireConstants(t) {
		if !strings.HasPrefix(name, "Max") && name != "maxErrorMessage" {
			continue
		}
		maxima[name] = true
		for _, stated := range places[name] {
			if strconv.Itoa(stated) != c.value {
				t.Errorf("%s is %s, the page says %d", name, c.value, stated)
			}
		}
	}
	same(t, "bounds", places, maxima)
}

func TestContractHasTheFieldsOfAnOutcome(t *testing.T) {
	is := fieldsOf(t, reflect.TypeFor[events.Outcome](), "")
	page := make(map[string]row)
	for _, r := range readPage(t, "contract.md").table(t, outcomeTable...).rows {
		name := onlyName(t, r)
		page[name] = r
		when := "always"
		if is[name].optional {
			when = "if known"
		}
		if r.cells[1] != is[name].kind || r.cells[2] != when {
			t.Errorf("%s is %s, %s on the page and %s, %s in the code", name, r.cells[1], r.cells[2], is[name].kind, when)
		}
	}
	same(t, "fields of an outcome", page, is)
}

// What an outcome promises is no other thing than EncodeOutcome lets pass.
func TestContractHasTheOutcomesThatThereAre(t *testing.T) {
	page := make(map[string]bool)
	for _, r := range readPage(t, "contract.md").table(t, actTable...).rows {
		page[strings.Trim(r.cells[0], "`")+" "+strings.Trim(r.cells[1], "`")] = true
	}
	is := make(map[string]bool)
	for _, result := range []events.Result{events.Closed, events.Paid, events.Failed} {
		for _, safe := range []bool{true, false} {
			o := events.Outcome{Result: result, SafeToReissue: safe, CompletedAt: time.Now()}
			if _, err := events.EncodeOutcome(o); err == nil {
				is[fmt.Sprintf("%s %v", result, safe)] = true
			}
		}
	}
	same(t, "outcomes", page, is)
}

// filled sets every field of v that a record carries to something.
func filled[T any](v T) T {
	fill(reflect.ValueOf(&v).Elem())
	return v
}

func fill(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)))
	case v.Type() == reflect.TypeFor[time.Duration]():
		v.SetInt(int64(time.Hour)) // a header may count in milliseconds
	case v.Type() == reflect.TypeFor[events.Message]():
	case v.Kind() == reflect.Struct:
		for _, f := range v.Fields() {
			fill(f)
		}
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	}
}

// wireConstants returns the constants of the rooms that write to the wire.
func wireConstants(t *testing.T) map[string]constantOf {
	t.Helper()
	all := constantsOf(t, "../events")
	maps.Copy(all, constantsOf(t, "../internal/records"))
	return all
}

// isHeader reports whether a constant is the name of a header.
func isHeader(name string) bool {
	return strings.HasPrefix(name, "Header") || strings.HasPrefix(name, "header")
}

func TestContractHasTheHeadersThatThereAre(t *testing.T) {
	p := readPage(t, "contract.md")
	events_, ours := make(map[string]bool), make(map[string]bool)
	for name, c := range wireConstants(t) {
		switch {
		case !isHeader(name):
		case strings.HasPrefix(c.value, "closeorder-"):
			ours[c.value] = true
		default:
			events_[c.value] = true
		}
	}

	page := make(map[string]bool)
	for _, r := range p.table(t, eventTable...).rows {
		name := onlyName(t, r)
		page[name] = true
		want, isEvent := strings.CutPrefix(name, "ce_")
		if !isEvent && name == "content-type" {
			want = "datacontenttype"
		}
		if r.cells[1] != "`"+want+"`" {
			t.Errorf("%s: the attribute is %s, not %q", name, r.cells[1], want)
		}
	}
	same(t, "headers of an event", page, events_)

	in := func(m events.Message) map[string]bool {
		names := make(map[string]bool)
		for _, h := range m.Headers {
			names[h.Key] = true
		}
		return names
	}
	dead, retry := in(records.EncodeDeadLetter(filled(records.DeadLetter{}))), in(records.EncodeRetry(filled(records.Retry{})))
	page = make(map[string]bool)
	word := map[bool]string{true: "yes", false: "no"}
	for _, r := range p.table(t, headerTable...).rows {
		name := onlyName(t, r)
		page[name] = true
		if r.cells[1] != word[dead[name]] || r.cells[2] != word[retry[name]] {
			t.Errorf("%s: the page says dead letter %s, retry record %s; the code %s, %s", name, r.cells[1], r.cells[2], word[dead[name]], word[retry[name]])
		}
	}
	same(t, "headers of ours", page, ours)
}

// Every row of what is served and refused is sent.
func TestContractSaysWhatIsServedAndRefused(t *testing.T) {
	served, refused := 0, 0
	for _, r := range readPage(t, "contract.md").table(t, servedTable...).rows {
		members := onlyName(t, r)
		found := flaws(asking(members))
		verb, _, _ := strings.Cut(r.cells[1], ":")
		switch verb {
		case "served", "ignored":
			served++
			if len(found) > 0 {
				t.Errorf("line %d: %s is refused: %v", r.number, members, found)
			}
		case "refused":
			refused++
			if len(found) == 0 {
				t.Errorf("line %d: %s is served", r.number, members)
			}
			for _, f := range found {
				if !namesOneOf(members, f) {
					t.Errorf("line %d: %s is refused for something else too: %v", r.number, members, f)
				}
			}
		default:
			t.Errorf("line %d: %q, want served, ignored or refused", r.number, r.cells[1])
		}
	}
	if served < 3 || refused < 10 {
		t.Errorf("only %d rows that are served and %d that are refused", served, refused)
	}
	if found := flaws(asking("")); len(found) > 0 {
		t.Errorf("the required fields alone are refused: %v", found)
	}
}

var memberName = regexp.MustCompile(`"([^"]+)"\s*:`)

// namesOneOf reports whether a flaw is about one of some members, whatever the
// spelling.
func namesOneOf(members string, f events.FieldError) bool {
	return slices.ContainsFunc(memberName.FindAllStringSubmatch(members, -1), func(m []string) bool {
		return strings.Contains(spelling(f.Field+" "+f.Problem), spelling(m[1]))
	})
}

// example reads a block that shows a record: its key, its headers, an empty
// line, its value.
func example(t *testing.T, b block) events.Message {
	t.Helper()
	var m events.Message
	key, ok := strings.CutPrefix(b.lines[0], "key ")
	if !ok {
		t.Fatalf("line %d: a record begins with its key", b.number)
	}
	m.Key = []byte(key)
	for i, line := range b.lines[1:] {
		if line == "" {
			m.Value = []byte(strings.Join(b.lines[i+2:], "\n"))
			return m
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("line %d: %q is no header", b.number+2+i, line)
		}
		m.Headers = append(m.Headers, events.Header{Key: name, Value: []byte(value)})
	}
	t.Fatalf("line %d: the record has no value", b.number)
	return m
}

// written is a record as text: the white space of a value does not matter.
func written(t *testing.T, m events.Message) string {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "key %s\n", m.Key)
	for _, h := range m.Headers {
		fmt.Fprintf(&b, "%s: %s\n", h.Key, h.Value)
	}
	if err := json.Compact(&b, m.Value); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// membersOf returns the members of a JSON object, nested ones with the name of
// their parent in front; what metadata holds is nobody's business.
func membersOf(doc map[string]any, parent string) map[string]bool {
	all := make(map[string]bool)
	for name, value := range doc {
		all[parent+name] = true
		if inner, ok := value.(map[string]any); ok && name != "metadata" {
			maps.Copy(all, membersOf(inner, parent+name+"."))
		}
	}
	return all
}

// Each example is a record as it is, or as it would be: what closeorder writes
// would be written again byte for byte.
func TestContractShowsRecordsAsTheyAre(t *testing.T) {
	p := readPage(t, "contract.md")
	listed := make(map[string]bool)
	for _, r := range p.table(t, codeTable...).rows {
		for _, c := range code(r.cells[1]) {
			listed[strings.Trim(r.cells[0], "`")+" "+c] = true
		}
	}
	shown := make(map[string]int)
	for _, b := range p.blocks {
		if len(b.lines) == 0 || !strings.HasPrefix(b.lines[0], "key ") {
			continue
		}
		m := example(t, b)
		var again events.Message
		var doc map[string]any
		if err := json.Unmarshal(m.Value, &doc); err != nil {
			t.Errorf("line %d: %v", b.number, err)
			continue
		}
		var known map[string]field
		var outTradeNo string
		if _, answers := doc["outcome"]; answers {
			o, err := events.DecodeOutcome(m)
			if err != nil {
				t.Errorf("line %d: %v", b.number, err)
				continue
			}
			if id := events.OutcomeID(o.RequestID, o.Order(), o.Source, o.Replay); o.ID != id {
				t.Errorf("line %d: ce_id is %s, it would be %s", b.number, o.ID, id)
			}
			if !listed[string(o.Result)+" "+o.Code] {
				t.Errorf("line %d: %s with the code %s is in no table", b.number, o.Result, o.Code)
			}
			if again, err = events.EncodeOutcome(o); err != nil {
				t.Errorf("line %d: %v", b.number, err)
			}
			known, outTradeNo = fieldsOf(t, reflect.TypeFor[events.Outcome](), ""), o.OutTradeNo
			shown[string(o.Result)]++
		} else {
			r, err := events.DecodeRequest(m)
			if err != nil {
				t.Errorf("line %d: %v", b.number, err)
				continue
			}
			known, outTradeNo = fieldsOf(t, reflect.TypeFor[events.Request](), ""), r.OutTradeNo
			source, binary := m.Header("ce_source")
			again = m
			switch data, structured := doc["data"].(map[string]any); {
			case binary:
				shown["binary mode"]++
				if again, err = events.EncodeRequest(r, string(source), time.Time{}); err != nil {
					t.Errorf("line %d: %v", b.number, err)
				}
			case structured:
				shown["structured mode"]++
				doc = data
			default:
				shown["plain JSON"]++
			}
		}
		if got, want := written(t, m), written(t, again); got != want {
			t.Errorf("line %d: the page shows\n%s\nit would be written as\n%s", b.number, got, want)
		}
		if string(m.Key) != outTradeNo {
			t.Errorf("line %d: the key is %q, not the order's number %q", b.number, m.Key, outTradeNo)
		}
		for name := range membersOf(doc, "") {
			if _, ok := known[name]; !ok {
				t.Errorf("line %d: %s is no field", b.number, name)
			}
		}
	}
	// The media type that the page tells to use is one that is served.
	const event = `{"specversion":"1.0","type":"closeorder.requested","data":{"mch_id":"1900000109","out_trade_no":"T1"}}`
	for _, l := range p.prose {
		for _, text := range code(l.text) {
			media, ok := strings.CutPrefix(text, "content-type: ")
			if !ok {
				continue
			}
			shown["media type"]++
			m := events.Message{Value: []byte(event), Headers: []events.Header{{Key: "content-type", Value: []byte(media)}}}
			if _, err := events.DecodeRequest(m); err != nil {
				t.Errorf("line %d: %v", l.number, err)
			}
		}
	}
	for _, kind := range []string{"plain JSON", "binary mode", "structured mode", "media type", "closed", "paid", "failed"} {
		if shown[kind] == 0 {
			t.Errorf("no example of %s", kind)
		}
	}
}

// Every name in backticks is one that there is.
func TestContractNamesWhatThereIs(t *testing.T) {
	p := readPage(t, "contract.md")
	known := map[string]bool{
		"closed": true, "paid": true, "failed": true, "true": true, "false": true,
		events.ConfirmedByCloseOrder: true, events.ConfirmedByOrderQuery: true,
		"payment_failed": true, "payment_timeout": true, // reasons by custom
		"data": true, "data_base64": true, "datacontenttype": true,
		"events":           true,
		config.AtLeastOnce: true, config.ExactlyOnce: true,
		"consumer.isolation.level": true, "transaction.timeout.ms": true, // of Kafka's own clients
	}
	var settings int
	for _, s := range config.Settings() {
		known[s.Name] = true
	}
	topics := config.Default().Topics
	onPage := make(map[string]bool)
	for _, r := range p.table(t, topicTable...).rows {
		for _, name := range code(r.cells[0]) {
			onPage[name] = true
		}
	}
	is := map[string]bool{topics.Requests: true, topics.Outcomes: true, topics.DeadLetters: true}
	delays := topics.RetryDelays
	is[topics.Retry(delays[0])], is[topics.Retry(delays[len(delays)-1])] = true, true // from ... to
	same(t, "topics", onPage, is)
	maps.Copy(known, is)

	types := make(map[string]bool)
	for name, c := range wireConstants(t) {
		switch {
		case strings.HasPrefix(name, "type"):
			types[c.value] = true
			known[c.value] = true
		case isHeader(name):
			known[c.value] = true
			known[strings.TrimPrefix(c.value, "ce_")] = true
		}
	}
	for name := range fieldsOf(t, reflect.TypeFor[events.Request](), "") {
		known[name] = true
	}
	for name := range fieldsOf(t, reflect.TypeFor[events.Outcome](), "") {
		known[name] = true
	}
	codes := make(map[string]bool)
	for _, each := range slices.Concat(p.table(t, codeTable...).rows, p.table(t, onTheWay...).rows) {
		for _, c := range slices.Concat(code(each.cells[0]), code(each.cells[1])) {
			codes[c] = true
		}
	}

	name := regexp.MustCompile(`^[a-z][a-z0-9]*([._-][a-z0-9]+)*$`)
	capitals := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	for _, l := range p.prose {
		if l.section == servedSection {
			continue // it has names that are wrong on purpose
		}
		for _, text := range code(l.text) {
			switch {
			case name.MatchString(text):
				if _, err := os.Stat(text); err != nil && !known[text] {
					t.Errorf("line %d: there is no %s", l.number, text)
				}
				if strings.Contains(text, ".") && known[text] {
					settings++
				}
			case capitals.MatchString(text) && !codes[text]:
				t.Errorf("line %d: %s is in no table of codes", l.number, text)
			}
			delete(types, text)
		}
	}
	if len(types) > 0 {
		t.Errorf("types that are not on the page: %v", slices.Sorted(maps.Keys(types)))
	}
	if settings < 10 {
		t.Errorf("only %d names with a dot were read", settings)
	}

	// How long the retries take, by default.
	var all time.Duration
	for _, d := range delays {
		all += d
	}
	minAge := config.ShortDuration(config.Default().MinOrderAge)
	text, err := os.ReadFile("contract.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("over %d h %d min,", int(all.Hours()), int(all.Minutes())%60),
		fmt.Sprintf("`min_order_age` (%s minutes)", strings.TrimSuffix(minAge, "m")),
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page does not say %q, which is the default", want)
		}
	}
}
