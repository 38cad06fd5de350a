package timeline_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/closeorder/closeorder/internal/timeline"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// partitions of each topic: those that take the numbers of the requests' have fewer, in
// the last two.
var partitions = map[string]int{
	"closeorder.requests": 5, "closeorder.outcomes": 5, "closeorder.retries.10s": 5, "closeorder.retries.1m": 3, "closeorder.dead-letters": 2,
}

// TestNothingOfAnOrderIsMissed holds a search against a scan that decodes every record,
// over orders whose numbers are parts of each other, in every form in which a request
// can come.
func TestNothingOfAnOrderIsMissed(t *testing.T) {
	topics := config.Default().Topics
	topics.RetryDelays = []time.Duration{10 * time.Second, time.Minute}
	var made []broker.Topic
	for topic, n := range partitions {
		made = append(made, broker.Topic{Name: topic, Partitions: n})
	}
	br, err := broker.Start(broker.Config{Topics: made})
	if err != nil {
		t.Fatal(err)
	}
	defer br.Close()
	producer, err := kgo.NewClient(kgo.SeedBrokers(br.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	client := kafka.Open(kafka.Config{Brokers: []string{br.Addr()}}, topics.All()...)
	defer client.Close()
	s := &shelf{t: t, topics: topics, producer: producer}
	var lives atomic.Int64
	found := map[bool]int{} // records, by whether all partitions were read
	rapid.Check(t, func(t *rapid.T) {
		s.written = nil
		life := fmt.Sprintf("L%06d", lives.Add(1))
		numbers := []string{life, life + "0", "x" + life, life + `|"<é`}
		for range rapid.IntRange(1, 8).Draw(t, "requests") {
			s.request(t, rapid.SampledFrom(numbers).Draw(t, "number"))
		}
		number := rapid.SampledFrom(numbers).Draw(t, "wanted")
		want := s.scan(number)
		for _, all := range []bool{true, false} {
			taken, err := timeline.Take(context.Background(), timeline.Scope{
				Reader: &kafka.Reader{Client: client}, Topics: topics, Group: "closeorder", OutTradeNo: number, All: all,
			})
			if err != nil {
				t.Fatal(err)
			}
			report, err := taken.Find(context.Background(), timeline.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if all && !report.All {
				t.Fatal("not all was read")
			}
			got := map[events.Source]bool{}
			for _, l := range report.Lives {
				for _, e := range l.Entries {
					got[e.At()] = true
				}
			}
			found[all] += len(got)
			for at := range got {
				if _, is := want[at]; !is {
					t.Fatalf("%q: %v is not of it", number, at)
				}
			}
			for at, by := range want {
				if !got[at] && (wasRead(report, at) || s.follows(got, at)) && wasRead(report, by) {
					t.Fatalf("%q: %v was missed (all: %t)", number, at, all)
				}
			}
		}
	})
	if found[false] == 0 || found[true] <= found[false] {
		t.Errorf("too little was found: %v", found)
	}
}

func wasRead(r *timeline.Report, at events.Source) bool {
	return slices.ContainsFunc(r.Read, func(one timeline.Reading) bool {
		return one.Topic == at.Topic && slices.Contains(one.Partitions, at.Partition)
	})
}

// follows reports whether a record stands where what follows from a request stands that
// was found.
func (s *shelf) follows(got map[events.Source]bool, at events.Source) bool {
	for request := range got {
		if request.Topic == s.topics.Requests && request.Topic != at.Topic && request.Partition%partitions[at.Topic] == at.Partition {
			return true
		}
	}
	return false
}

// shelf writes records and remembers them.
type shelf struct {
	t        *testing.T
	topics   config.Topics
	producer *kgo.Client
	written  []kafka.Record
}

func (s *shelf) write(topic string, partition int, m events.Message) events.Source {
	r := &kgo.Record{Topic: topic, Partition: int32(partition % partitions[topic]), Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	if err := s.producer.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	rec := kafka.Record{Topic: topic, Partition: int(r.Partition), Offset: r.Offset, Time: r.Timestamp, Message: m}
	s.written = append(s.written, rec)
	return rec.Source()
}

// request writes a request in some form, where some client puts it, and some of what
// follows from it.
func (s *shelf) request(t *rapid.T, number string) {
	value, err := json.Marshal(map[string]any{"out_trade_no": number, "mch_id": "1900000109", "request_id": "r"})
	if err != nil {
		t.Fatal(err)
	}
	m := events.Message{Key: []byte(number), Value: form(rapid.SampledFrom(forms).Draw(t, "form"), value)}
	if rapid.IntRange(0, 5).Draw(t, "key") == 0 {
		m.Key = nil
	}
	home := rapid.IntRange(0, partitions[s.topics.Requests]-1).Draw(t, "partition")
	if places := consumer.PartitionsOf([]byte(number), partitions[s.topics.Requests]); rapid.Bool().Draw(t, "by key") {
		home = places[rapid.IntRange(0, len(places)-1).Draw(t, "rule")]
	}
	at := s.write(s.topics.Requests, home, m)
	q, _ := events.DecodeRequest(m)
	follows := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 4).Draw(t, "follows")
	for _, kind := range follows {
		switch kind {
		case 0, 1:
			s.write(s.topics.Retries()[kind], home, records.EncodeRetry(records.Retry{Original: m, DueAt: noon, Code: "SYSTEMERROR", Source: at}))
		case 2:
			omitted := ""
			if rapid.Bool().Draw(t, "omitted") {
				omitted = records.OmittedHeaders
			}
			s.write(s.topics.DeadLetters, home, records.EncodeDeadLetter(records.DeadLetter{Original: m, ErrorCode: "X", FailedAt: noon, Source: at, ValueOmitted: omitted}))
		case 3:
			o := events.NewOutcome(q, m.Key, at)
			o.Result, o.CompletedAt = events.Closed, noon
			out, err := events.EncodeOutcome(o)
			if err != nil {
				t.Fatal(err)
			}
			s.write(s.topics.Outcomes, home, out)
		}
	}
}

// scan is the naive search: every record is decoded. It returns the records of the order,
// each with the one that says so: itself, or its request.
func (s *shelf) scan(number string) map[events.Source]events.Source {
	of := map[events.Source]events.Source{}
	named := func(m events.Message) bool {
		q, _ := events.DecodeRequest(m)
		return q.OutTradeNo == number || q.OutTradeNo == "" && string(m.Key) == number
	}
	for _, rec := range s.written { // a request stands before what follows from it
		at := rec.Source()
		var itself bool
		var source events.Source
		switch rec.Topic {
		case s.topics.Requests:
			itself = named(rec.Message)
		case s.topics.Outcomes:
			o, err := events.DecodeOutcome(rec.Message)
			itself, source = err == nil && o.OutTradeNo == number, o.Source
		case s.topics.DeadLetters:
			d, err := records.DecodeDeadLetter(rec.Message)
			itself, source = err == nil && named(d.Original), d.Source
		default:
			r, err := records.DecodeRetry(rec.Message)
			itself, source = err == nil && named(r.Original), r.Source
		}
		if itself {
			of[at] = at
		} else if _, is := of[source]; is {
			of[at] = source
		}
	}
	return of
}

var forms = []string{"plain", "escaped", "framed", "text", "base64", "text of base64", "event", "event of text", "event of base64", "data in base64", "connect", "connect of base64"}

// form writes a request as some library does.
func form(name string, value []byte) []byte {
	quoted := func(b []byte) []byte {
		text, _ := json.Marshal(string(b)) // a string can be written
		return text
	}
	coded := func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) }
	event := `{"specversion":"1.0","id":"1","source":"/s","type":"closeorder.requested",`
	switch name {
	case "escaped":
		return bytes.ReplaceAll(value, []byte("L"), []byte(`\u004c`)) // JSON may write any character so
	case "framed":
		return append([]byte{0, 0, 0, 0, 7}, value...)
	case "text":
		return quoted(value)
	case "base64":
		return coded(value)
	case "text of base64":
		return quoted(coded(value))
	case "event":
		return fmt.Appendf(nil, `%s "data": %s}`, event, value)
	case "event of text":
		return fmt.Appendf(nil, `%s "data" : %s}`, event, quoted(value))
	case "event of base64":
		return fmt.Appendf(nil, `%s "data" : %s}`, event, quoted(coded(value)))
	case "data in base64":
		return fmt.Appendf(nil, `%s"data_base64":%s}`, event, quoted(coded(value)))
	case "connect":
		return fmt.Appendf(nil, `{"schema":null,"payload":%s}`, value)
	case "connect of base64":
		return fmt.Appendf(nil, `{"schema":null,"payload":%s}`, quoted(coded(value)))
	}
	return value
}
