package config_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/config"
	"github.com/closeorder/closeorder/internal/kafka"
)

func TestWhereAGroupBegins(t *testing.T) {
	for given, want := range map[string]string{"": "earliest", "earliest": "earliest", "Latest": "latest", "error": "error", "none": ""} {
		c, err := config.Load(config.Source{Env: []string{"CLOSEORDER_KAFKA_START=" + given}}, config.Work)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), `kafka.start`) || !strings.Contains(err.Error(), "is not one of earliest, latest, error") {
				t.Errorf("%q: %v", given, err)
			}
			continue
		}
		if err != nil || c.Kafka.Start != want {
			t.Errorf("%q is %q, %v; want %q", given, c.Kafka.Start, err, want)
		}
	}
}

func TestOffsetsThatAreGivenUp(t *testing.T) {
	want := []kafka.Span{{Topic: "closeorder.requests", Partition: 3, First: 100, Last: 120}, {Topic: "closeorder.retries.10s", First: 7, Last: 7}}
	for name, from := range map[string]config.Source{
		"a variable": {Env: []string{"CLOSEORDER_KAFKA_SKIP=closeorder.requests[3]@100-120, closeorder.retries.10s[0]@7-7"}},
		"a flag":     {Flags: map[string]string{"kafka.skip": "closeorder.requests[3]@100-120,closeorder.retries.10s[0]@7-7"}},
		"the file": {File: "c.yaml", ReadFile: files(map[string]string{
			"c.yaml": "kafka:\n  skip:\n  - closeorder.requests[3]@100-120\n  - closeorder.retries.10s[0]@7-7\n"})},
	} {
		c, err := config.Load(from, config.TopicNames, config.Work)
		if err != nil || !slices.Equal(c.Kafka.Skip, want) {
			t.Errorf("%s: %v, %v; want %v", name, c.Kafka.Skip, err, want)
		}
	}
	for given, mistake := range map[string]string{
		"closeorder.requests[3]":                                  `kafka.skip`,
		"closeorder.requests[3]@5,closeorder.requests[3]@1-2":     `"closeorder.requests[3]@5" is not topic[partition]@first-last`,
		"closeorder.requests[3]@9-2":                              `"closeorder.requests[3]@9-2" ends before it begins`,
		"closeorder.requets[3]@1-2":                               "closeorder.requets[3]@1-2: the worker does not read topic closeorder.requets, but closeorder.requests, closeorder.retries.10s",
		"closeorder.outcomes[0]@1-2":                              "the worker does not read topic closeorder.outcomes",
		"closeorder.requests[3]@1-2,closeorder.dead-letters[1]@5": `"closeorder.dead-letters[1]@5" is not`,
	} {
		_, err := config.Load(config.Source{Flags: map[string]string{"kafka.skip": given}}, config.TopicNames, config.Work)
		if err == nil || !strings.Contains(err.Error(), mistake) || !strings.Contains(err.Error(), "--kafka-skip") {
			t.Errorf("%s: %v, want %q of --kafka-skip", given, err, mistake)
		}
	}
}

func TestSizesOfWhatIsUnpacked(t *testing.T) {
	const batch, total = "kafka.unpacked_batch", "kafka.unpacked_total"
	for name, tt := range map[string]struct {
		batch, total string
		want         [2]int64
		mistake      string
	}{
		"the defaults":                 {"", "", [2]int64{64 << 20, 256 << 20}, ""},
		"bytes":                        {"65536", "65536B", [2]int64{1 << 16, 1 << 16}, ""},
		"units":                        {"512KiB", "1 gib", [2]int64{512 << 10, 1 << 30}, ""},
		"a unit of ten":                {"64MB", "", [2]int64{}, `"64MB" has no unit that is known; write 64MiB`},
		"a letter":                     {"64m", "", [2]int64{}, `"64m" has no unit that is known; write 64MiB`},
		"a unit that nobody knows":     {"64PiB", "", [2]int64{}, `"64PiB" is not a size in whole B, KiB, MiB or GiB`},
		"a fraction":                   {"1.5GiB", "", [2]int64{}, `"1.5GiB" is not a size in whole B, KiB, MiB or GiB`},
		"no number":                    {"much", "", [2]int64{}, `"much" is not a size; write for example 64MiB`},
		"less than nothing":            {"-1", "", [2]int64{}, `"-1" is not a size`},
		"a unit was forgotten":         {"64", "", [2]int64{}, `"64" is not between 1KiB and 64GiB`},
		"more than there can be":       {"9223372036854775807GiB", "", [2]int64{}, "is not between 1KiB and 64GiB"},
		"more than a number can be":    {"", "9223372036854775808", [2]int64{}, "is not a size in whole"},
		"one batch is more than all":   {"512MiB", "", [2]int64{}, "kafka.unpacked_total: 256MiB is less than kafka.unpacked_batch (512MiB)"},
		"all together, as one alone":   {"256MiB", "", [2]int64{256 << 20, 256 << 20}, ""},
		"one byte less than the batch": {"2048", "2047", [2]int64{}, "2047B is less than kafka.unpacked_batch (2KiB)"},
	} {
		t.Run(name, func(t *testing.T) {
			flags := map[string]string{batch: tt.batch, total: tt.total}
			for _, one := range []string{batch, total} {
				if flags[one] == "" {
					delete(flags, one)
				}
			}
			c, err := config.Load(config.Source{Flags: flags}, config.Connection)
			if tt.mistake != "" {
				if err == nil || !strings.Contains(err.Error(), tt.mistake) {
					t.Errorf("%v, want %q", err, tt.mistake)
				}
				return
			}
			if got := [2]int64{c.Kafka.UnpackedBatch, c.Kafka.UnpackedTotal}; err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestHowOftenARequestIsAnswered(t *testing.T) {
	type settings = map[string]string
	worker := []config.Section{config.Connection, config.TopicNames, config.Work}
	command := []config.Section{config.Connection, config.TopicNames}
	for sentence, tt := range map[string]struct {
		set      settings
		sections []config.Section
		also     []string
		mistakes []string // none for none
	}{
		"the defaults":                          {nil, worker, nil, nil},
		"exactly once":                          {settings{"processing_guarantee": "exactly_once"}, worker, nil, nil},
		"in capitals, as constants are written": {settings{"processing_guarantee": "EXACTLY_ONCE", "kafka.isolation": "READ_COMMITTED"}, worker, nil, nil},
		"a word of Kafka Streams that is another": {settings{"processing_guarantee": "exactly_once_v2"}, worker, nil,
			[]string{`processing_guarantee (--processing-guarantee): "exactly_once_v2" is not one of at_least_once, exactly_once`}},
		"an isolation that is none": {settings{"kafka.isolation": "serializable"}, worker, nil,
			[]string{`kafka.isolation (--kafka-isolation): "serializable" is not one of read_committed, read_uncommitted`}},
		"records of aborted transactions, once": {settings{"processing_guarantee": "exactly_once", "kafka.isolation": "read_uncommitted"}, worker, nil,
			[]string{"kafka.isolation (--kafka-isolation): is read_uncommitted, and processing_guarantee is exactly_once: records of aborted transactions would count; leave one of them out"}},
		"records of aborted transactions, at least once": {settings{"kafka.isolation": "read_uncommitted"}, worker, nil, nil},
		"a command that looks at all there is, with the file of the workers": {
			settings{"processing_guarantee": "exactly_once", "kafka.isolation": "read_uncommitted", "transaction_interval": "1m"}, command, nil, nil},
		"a command that asks for the guarantee, of uncommitted records": {
			settings{"processing_guarantee": "exactly_once", "kafka.isolation": "read_uncommitted", "transaction_interval": "1m"}, command, []string{"processing_guarantee"},
			[]string{"kafka.isolation (--kafka-isolation): is read_uncommitted"}},
		"transactions as long as half of what the brokers allow": {settings{"processing_guarantee": "exactly_once", "transaction_interval": "5s"}, worker, nil, nil},
		"transactions longer than that": {settings{"processing_guarantee": "exactly_once", "transaction_interval": "5001ms"}, worker, nil,
			[]string{"transaction_interval (--transaction-interval): 5.001s is more than half of kafka.transaction_timeout (10s): the brokers would abort transactions of a worker that is well; make one of them fit"}},
		"the same, where there are none": {settings{"transaction_interval": "1m"}, worker, nil, nil},
		"an interval of nothing": {settings{"transaction_interval": "0s"}, worker, nil,
			[]string{"transaction_interval (--transaction-interval): 0s is not between 1ms and 1m"}},
		"a transaction that nobody ends": {settings{"kafka.transaction_timeout": "16m"}, worker, nil,
			[]string{"kafka.transaction_timeout (--kafka-transaction-timeout): 16m is not between 1s and 15m"}},
		"all at once": {settings{"processing_guarantee": "once", "kafka.isolation": "none", "transaction_interval": "x", "kafka.transaction_timeout": "1"}, worker, nil,
			[]string{"processing_guarantee", "kafka.isolation", "transaction_interval", "kafka.transaction_timeout"}},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, err := config.Load(config.Source{Flags: tt.set, Also: tt.also}, tt.sections...)
			var mistakes config.Mistakes
			if tt.mistakes == nil && err != nil || tt.mistakes != nil && (!errors.As(err, &mistakes) || len(mistakes) != len(tt.mistakes)) {
				t.Fatalf("%v, want %q", err, tt.mistakes)
			}
			for _, want := range tt.mistakes {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
	c, err := config.Load(config.Source{}, worker...)
	if err != nil || c.ProcessingGuarantee != config.AtLeastOnce || c.Kafka.Isolation != config.ReadCommitted || c.TransactionInterval != 100*time.Millisecond || c.Kafka.TransactionTimeout != 10*time.Second {
		t.Errorf("the defaults are %q, %q, %v, %v; %v", c.ProcessingGuarantee, c.Kafka.Isolation, c.TransactionInterval, c.Kafka.TransactionTimeout, err)
	}
}

// What is read is the client's: the worker's and that of every command.
func TestTheIsolationIsThatOfTheClient(t *testing.T) {
	for given, uncommitted := range map[string]bool{"": false, "read_committed": false, "Read_Uncommitted": true} {
		c, err := config.Load(config.Source{Env: []string{"CLOSEORDER_KAFKA_ISOLATION=" + given}}, config.Connection)
		if err != nil {
			t.Fatal(err)
		}
		client, err := c.Kafka.Client(nil)
		if err != nil || client.ReadUncommitted != uncommitted {
			t.Errorf("%q: read uncommitted is %v, %v", given, client.ReadUncommitted, err)
		}
	}
}
