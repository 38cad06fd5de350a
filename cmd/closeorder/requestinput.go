package main

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

	"github.com/closeorder/closeorder/events"
)

// requestFields are the fields of a request as flags and columns may give them.
var requestFields = []string{
	"out_trade_no", "mch_id", "appid", "sub_mch_id", "sub_appid", "request_id", "reason",
	"order_created_at", "not_before", "expires_at", "replacement_out_trade_no", "metadata",
}

// maxLine bounds one line of input; a valid request is much shorter.
const maxLine = 1 << 20

// badLine is one line of input that is no request.
type badLine struct {
	line int
	err  error
}

// parsedRequests is what an input holds.
type parsedRequests struct {
	requests []events.Request
	lines    []int // of requests
	bad      []badLine
}

func (p *parsedRequests) total() int { return len(p.requests) + len(p.bad) }

func (p *parsedRequests) add(line int, r events.Request, err error) {
	if err != nil {
		p.bad = append(p.bad, badLine{line, err})
		return
	}
	p.requests = append(p.requests, r)
	p.lines = append(p.lines, line)
}

// parseRequests reads CSV with a header row, or JSON objects line by line;
// what it is shows its first character. Fields that a line leaves out are
// taken from defaults. An error means that the input as a whole is unusable.
func parseRequests(in io.Reader, defaults map[string]string) (*parsedRequests, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if bom, _ := buffered.Peek(3); bytes.Equal(bom, []byte("\ufeff")) {
		_, _ = buffered.Discard(3)
	}
	skipped := 0
	for {
		b, err := buffered.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return &parsedRequests{}, nil
			}
			return nil, err
		}
		switch b {
		case '\n':
			skipped++
		case ' ', '\t', '\r':
		default:
			_ = buffered.UnreadByte()
			if b == '{' {
				return parseLines(buffered, defaults, skipped)
			}
			return parseCSV(buffered, defaults, skipped)
		}
	}
}

func parseLines(in *bufio.Reader, defaults map[string]string, line int) (*parsedRequests, error) {
	var p parsedRequests
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, maxLine)
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		r, err := decodeLine(text, defaults)
		p.add(line, r, err)
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		p.add(line+1, events.Request{}, fmt.Errorf("has more than %d bytes; what follows was not read", maxLine))
		return &p, nil
	}
	return &p, scan.Err()
}

// decodeLine reads one JSON object. It is decoded as a record of the topic
// is, so that what is accepted here is accepted there. Defaults are put in
// front of what the line says, whose own bytes, mistakes and all, stay as
// they are.
func decodeLine(text []byte, defaults map[string]string) (events.Request, error) {
	var fields map[string]json.RawMessage
	if len(defaults) == 0 || json.Unmarshal(text, &fields) != nil || fields == nil {
		return events.DecodeRequest(events.Message{Value: text})
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		if _, there := fields[name]; !there {
			fmt.Fprintf(&b, "%q:%s,", name, rawField(name, defaults[name]))
		}
	}
	if len(fields) == 0 {
		b.Truncate(max(b.Len()-1, 1)) // no comma before the end
	}
	b.Write(text[1:])
	return events.DecodeRequest(events.Message{Value: b.Bytes()})
}

// rawField is the JSON of a field that came as text.
func rawField(name, value string) json.RawMessage {
	if name == "metadata" {
		return json.RawMessage(value)
	}
	b, _ := json.Marshal(value)
	return b
}

// requestOf makes a request of fields that came as text; empty ones are left
// out. Like a line it is decoded as a record is, metadata byte for byte.
func requestOf(fields map[string]string) (events.Request, error) {
	var doc bytes.Buffer
	metadataIsJSON := true
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		switch {
		case value == "":
			continue
		case name == "metadata" && !json.Valid([]byte(value)):
			metadataIsJSON = false
			continue
		case doc.Len() > 0:
			doc.WriteByte(',')
		}
		fmt.Fprintf(&doc, "%q:%s", name, rawField(name, value))
	}
	r, err := events.DecodeRequest(events.Message{Value: fmt.Appendf(nil, "{%s}", doc.Bytes())})
	if !metadataIsJSON {
		bad := events.FieldError{Field: "metadata", Problem: "is not JSON"}
		var all *events.ValidationError
		if !errors.As(err, &all) {
			all = &events.ValidationError{}
		}
		err = &events.ValidationError{Fields: append(slices.Clone(all.Fields), bad)}
	}
	return r, err
}

func parseCSV(in io.Reader, defaults map[string]string, skipped int) (*parsedRequests, error) {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("line %d: not readable as CSV: %w", skipped+1, err)
	}
	if len(head) == 1 && strings.Contains(head[0], ";") {
		return nil, usagef("line %d: the columns are separated by semicolons; commas are expected", skipped+1)
	}
	columns := slices.Clone(head)
	if err := checkColumns(columns, skipped+1); err != nil {
		return nil, err
	}
	var p parsedRequests
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return &p, nil
		}
		var broken *csv.ParseError
		switch {
		case errors.As(err, &broken) && errors.Is(err, csv.ErrFieldCount):
			p.add(broken.StartLine+skipped, events.Request{}, fmt.Errorf("has %d columns, the header row has %d", len(row), len(columns)))
			continue
		case errors.As(err, &broken):
			p.add(broken.Line+skipped, events.Request{}, fmt.Errorf("%w, at column %d; what follows was not read", broken.Err, broken.Column))
			return &p, nil
		case err != nil:
			return nil, err
		}
		fields := maps.Clone(defaults)
		if fields == nil {
			fields = map[string]string{}
		}
		for i, column := range columns {
			if value := strings.TrimSpace(row[i]); value != "" {
				fields[column] = value
			}
		}
		line, _ := r.FieldPos(0)
		req, err := requestOf(fields)
		p.add(line+skipped, req, err)
	}
}

func checkColumns(columns []string, line int) error {
	var wrong []string
	for i, c := range columns {
		columns[i] = strings.TrimSpace(c)
		switch {
		case !slices.Contains(requestFields, columns[i]):
			wrong = append(wrong, fmt.Sprintf("there is no field %q", columns[i]))
		case slices.Index(columns, columns[i]) != i:
			wrong = append(wrong, fmt.Sprintf("the column %s is there twice", columns[i]))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return usagef("line %d must name the columns, but %s; the fields are %s",
		line, strings.Join(wrong, ", "), strings.Join(requestFields, ", "))
}
