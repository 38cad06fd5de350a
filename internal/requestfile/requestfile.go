// Package requestfile reads close requests as people and scripts write them:
// fields as text, CSV with a header row, JSON objects line by line. What it
// accepts a worker accepts: each is decoded as a record of the topic is. It
// knows nothing of flags, files or Kafka.
package requestfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/closeorder/closeorder/events"
)

// Fields are the fields of a request that may be given as text.
var Fields = []string{
	"out_trade_no", "mch_id", "appid", "sub_mch_id", "sub_appid", "request_id", "reason",
	"order_created_at", "not_before", "expires_at", "replacement_out_trade_no", "metadata",
}

// maxLine bounds one line of input; a valid request is much shorter.
const maxLine = 1 << 20

// BadLine is one line of input that is no request. Lines are counted from 1.
type BadLine struct {
	Line int
	Err  error
}

// File is what an input holds. Its requests have the id that they brought, and
// none where they brought none.
type File struct {
	Requests []events.Request
	Bad      []BadLine
}

// Total counts the requests and the lines that are none.
func (f *File) Total() int { return len(f.Requests) + len(f.Bad) }

func (f *File) add(line int, r events.Request, err error) {
	if err != nil {
		f.Bad = append(f.Bad, BadLine{line, err})
		return
	}
	f.Requests = append(f.Requests, r)
}

// Parse reads CSV with a header row, or JSON objects line by line;
// what it is shows its first character. Fields that a line leaves out are
// taken from defaults, in which Check finds nothing. An error means that the input as a whole is unusable.
func Parse(in io.Reader, defaults map[string]string) (*File, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if bom, _ := buffered.Peek(3); bytes.Equal(bom, []byte("\ufeff")) {
		_, _ = buffered.Discard(3)
	}
	skipped := 0
	for {
		b, err := buffered.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return &File{}, nil
			}
			return nil, err
		}
		switch b {
		case '\n':
			skipped++
		case ' ', '\t', '\r':
		default:
			_ = buffered.UnreadByte()
			switch b {
			case '{':
				return parseLines(buffered, defaults, skipped)
			case '[':
				return nil, fmt.Errorf("line %d begins a JSON array; one object a line is expected: jq -c '.[]' makes lines of it", skipped+1)
			}
			return parseCSV(buffered, defaults, skipped)
		}
	}
}

func parseLines(in *bufio.Reader, defaults map[string]string, line int) (*File, error) {
	var f File
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		r, err := decodeLine(text, defaults)
		f.add(line, r, err)
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		f.add(line+1, events.Request{}, fmt.Errorf("has more than %d bytes; what follows was not read", maxLine))
		return &f, nil
	}
	return &f, scan.Err()
}

// decodeLine reads one JSON object. It is decoded as a record of the topic
// is, so that what is accepted here is accepted there. Defaults are put in
// front of what the line says, whose own bytes, mistakes and all, stay as
// they are. A line that misspells a field has its mistake told, not a default
// in the place of what it meant.
func decodeLine(text []byte, defaults map[string]string) (events.Request, error) {
	if !utf8.Valid(text) {
		return events.Request{}, errors.New(notUTF8(string(text)))
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return events.DecodeRequest(events.Message{Value: text})
	}
	id := string(fields["request_id"])
	named := id != "" && id != "null" && id != `""`
	if len(defaults) == 0 {
		return withOwnID(named, text)
	}
	if inside := wrapped(fields); inside != "" {
		return events.Request{}, fmt.Errorf("is a request inside %s, where flags fill in nothing; leave them out and write there what they say", inside)
	}
	named = named || id == "" && defaults["request_id"] != ""
	misspelt := map[string]bool{}
	_, err := events.DecodeRequest(events.Message{Value: text})
	if alone, ok := errors.AsType[*events.ValidationError](err); ok {
		for _, f := range alone.Fields {
			misspelt[f.Field] = f.Problem != "is required"
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if _, there := fields[name]; !there && !misspelt[name] {
			fmt.Fprintf(&b, "%q:%s,", name, rawField(name, defaults[name]))
		}
	}
	if len(fields) == 0 {
		b.Truncate(max(b.Len()-1, 1)) // no comma before the end
	}
	b.Write(text[1:])
	return withOwnID(named, b.Bytes())
}

// wrapped returns the member of a CloudEvent or of Kafka Connect's envelope that
// holds the request, "" where the line is the request itself: what is put
// beside the member would be ignored, an expires_at too.
func wrapped(fields map[string]json.RawMessage) string {
	for _, name := range Fields {
		if _, own := fields[name]; own {
			return ""
		}
	}
	for _, layer := range [][]string{{"data", "specversion"}, {"data_base64", "specversion"}, {"payload", "schema"}} {
		_, inside := fields[layer[0]]
		if _, mark := fields[layer[1]]; inside && mark {
			return layer[0]
		}
	}
	return ""
}

// withOwnID decodes a request, and takes the id that was derived from its
// order away where it brought none.
func withOwnID(named bool, value []byte) (events.Request, error) {
	r, err := events.DecodeRequest(events.Message{Value: value})
	if !named {
		r.RequestID = ""
	}
	return r, err
}

// notUTF8 says where a text stops being UTF-8: what is published is.
func notUTF8(s string) string {
	column := 1
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return fmt.Sprintf("is not UTF-8 from character %d on (byte 0x%02x); save it as UTF-8", column, s[i])
		}
		column++
	}
	return ""
}

// rawField is the JSON of a field that came as text.
func rawField(name, value string) json.RawMessage {
	if name == "metadata" {
		return json.RawMessage(value)
	}
	b, _ := json.Marshal(value)
	return b
}

// Check says which of some fields that came as text cannot stand in a request
// at all, by name.
func Check(fields map[string]string) (bad []events.FieldError) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if value := fields[name]; !utf8.ValidString(value) {
			bad = append(bad, events.FieldError{Field: name, Problem: notUTF8(value)})
		} else if name == "metadata" && value != "" && !json.Valid([]byte(value)) {
			bad = append(bad, events.FieldError{Field: name, Problem: "is not JSON"})
		}
	}
	return bad
}

// Request makes a request of fields that came as text; empty ones are left
// out. Like a line it is decoded as a record is, metadata byte for byte.
func Request(fields map[string]string) (events.Request, error) {
	bad := Check(fields)
	isBad := func(name string) bool {
		return slices.ContainsFunc(bad, func(f events.FieldError) bool { return f.Field == name })
	}
	var members []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if value := fields[name]; value != "" && !isBad(name) {
			members = append(members, fmt.Sprintf("%q:%s", name, rawField(name, value)))
		}
	}
	r, err := withOwnID(fields["request_id"] != "", []byte("{"+strings.Join(members, ",")+"}"))
	if len(bad) > 0 {
		all, ok := errors.AsType[*events.ValidationError](err)
		if !ok {
			all = &events.ValidationError{}
		}
		// A field that was left out is not missing.
		others := slices.DeleteFunc(slices.Clone(all.Fields), func(f events.FieldError) bool { return isBad(f.Field) })
		err = &events.ValidationError{Fields: append(others, bad...)}
	}
	return r, err
}

func parseCSV(in io.Reader, defaults map[string]string, skipped int) (*File, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	columns, err := r.Read()
	if err != nil {
		if broken, ok := errors.AsType[*csv.ParseError](err); ok {
			return nil, fmt.Errorf("line %d: not readable as CSV: %v, at column %d", broken.Line+skipped, broken.Err, broken.Column)
		}
		return nil, fmt.Errorf("line %d: not readable as CSV: %w", skipped+1, err)
	}
	if len(columns) == 1 && strings.Contains(columns[0], ";") {
		return nil, fmt.Errorf("line %d: the columns are separated by semicolons; commas are expected", skipped+1)
	}
	for i, name := range columns {
		if !utf8.ValidString(name) {
			return nil, fmt.Errorf("line %d, column %d: %s", skipped+1, i+1, notUTF8(name))
		}
	}
	if err := checkColumns(columns, skipped+1); err != nil {
		return nil, err
	}
	var f File
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return &f, nil
		}
		var broken *csv.ParseError
		switch {
		case errors.As(err, &broken) && errors.Is(err, csv.ErrFieldCount):
			has := fmt.Sprintf("%d columns", len(row))
			if len(row) == 1 {
				has = "1 column"
			}
			f.add(broken.StartLine+skipped, events.Request{}, fmt.Errorf("has %s, the header row has %d", has, len(columns)))
			continue
		case errors.As(err, &broken):
			f.add(broken.Line+skipped, events.Request{}, fmt.Errorf("%w, at column %d; what follows was not read", broken.Err, broken.Column))
			return &f, nil
		case err != nil:
			return nil, err
		}
		fields := map[string]string{}
		maps.Copy(fields, defaults)
		for i, column := range columns {
			if value := strings.TrimSpace(row[i]); value != "" {
				fields[column] = value
			}
		}
		line, _ := r.FieldPos(0)
		req, err := Request(fields)
		f.add(line+skipped, req, err)
	}
}

func checkColumns(columns []string, line int) error {
	var wrong []string
	for i, c := range columns {
		columns[i] = strings.TrimSpace(c)
		switch {
		case !slices.Contains(Fields, columns[i]):
			wrong = append(wrong, fmt.Sprintf("there is no field %q", columns[i]))
		case slices.Index(columns, columns[i]) != i:
			wrong = append(wrong, fmt.Sprintf("the column %s is there twice", columns[i]))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("line %d must name the columns, but %s; the fields are %s",
		line, strings.Join(wrong, ", "), strings.Join(Fields, ", "))
}
