package consumer_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/closeorder/closeorder/consumer"
	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/records"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// validate lets the broker refuse batches as Apache Kafka does: nothing of a
// batch in which there is a record that refuse gives a reason for is written,
// and the answer names them (Produce version 8). The other batches of the
// request get an error that another try heals. It returns how many batches were
// refused so far.
func (c *cluster) validate(code int16, refuse func(topic string, r kmsg.Record) (why string)) *atomic.Int32 {
	refusals := new(atomic.Int32)
	kafka := c.broker.Cluster()
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		res := produce.ResponseKind().(*kmsg.ProduceResponse)
		any := false
		for _, topic := range produce.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.NotLeaderForPartition.Code
				for i, r := range recordsOf(c.t, p.Records) {
					why := refuse(topic.Topic, r)
					if why == "" {
						continue
					}
					any = true
					rp.ErrorCode, rp.ErrorMessage = code, &why
					rp.ErrorRecords = append(rp.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: int32(i), ErrorMessage: &why})
				}
				if rp.ErrorCode == code {
					refusals.Add(1)
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			res.Topics = append(res.Topics, rt)
		}
		return res, nil, any
	})
	return refusals
}

// recordsOf are the records of a batch, none if it is compressed.
func recordsOf(t *testing.T, b []byte) (out []kmsg.Record) {
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(b); err != nil {
		t.Error(err)
		return nil
	}
	if batch.Attributes&7 != 0 {
		return nil
	}
	in := batch.Records
	for range batch.NumRecords {
		length, n := binary.Varint(in)
		var r kmsg.Record
		if err := r.ReadFrom(in[:n+int(length)]); err != nil {
			t.Error(err)
			return nil
		}
		out = append(out, r)
		in = in[n+int(length):]
	}
	return out
}

// One record that the brokers' owner does not let through waits for that to be
// mended; the hundred beside it, and all partitions, go on.
func TestARecordThatIsRefusedForGoodHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var allowed atomic.Bool
		refusals := c.validate(kerr.InvalidRecord.Code, func(topic string, r kmsg.Record) string {
			if topic == "outcomes" && string(r.Key) == "T050" && !allowed.Load() {
				return "the schema knows no T050"
			}
			return ""
		})
		var hook *test.Hook
		stop := c.worker(&closing{}, heard(&hook))
		defer stop()
		requests := []*kgo.Record{to(1, "OTHER")}
		for i := range 101 {
			requests = append(requests, to(0, fmt.Sprintf("T%03d", i)))
		}
		c.publish(requests...)
		c.outcomes(101)
		time.Sleep(30 * time.Minute)
		if at := c.committed()[0].At; at != 50 {
			t.Errorf("committed %d while offset 50 is refused", at)
		}
		if n := logged(hook, "ALARM: the topic does not take a record"); n != 1 {
			t.Errorf("%d alarms in half an hour, want 1", n)
		}
		for _, e := range hook.AllEntries() {
			if !strings.Contains(e.Message, "ALARM") {
				continue
			}
			text := fmt.Sprint(e.Data[logrus.ErrorKey])
			for _, want := range []string{"topic outcomes", "partition 0", "[87]", "the schema knows no T050", "what the brokers validate"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in the alarm: %s", want, text)
				}
			}
			if e.Data["out_trade_no"] != "T050" || e.Data["offset"] != int64(50) {
				t.Errorf("the alarm does not name the request: %v", e.Data)
			}
		}
		if n := refusals.Load(); n < 20 || n > 40 {
			t.Errorf("tried %d times in half an hour, want about once a minute", n)
		}
		allowed.Store(true)
		c.outcomes(102)
		time.Sleep(2 * time.Second)
		if at := c.committed()[0].At; at != 101 {
			t.Errorf("committed %d at the end, want 101", at)
		}
	})
}

// What waits to be taken is no decision on its way: it neither uses up what may
// be unpublished, nor holds up a stop.
func TestManyRefusedRecordsHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.validate(kerr.InvalidTimestamp.Code, func(topic string, r kmsg.Record) string {
			if topic == "outcomes" && bytes.HasPrefix(r.Key, []byte("BAD")) {
				return "out of range"
			}
			return ""
		})
		stop := c.worker(&closing{}, func(cfg *consumer.Config) { cfg.MaxInFlight = 4 })
		var bad []*kgo.Record
		for i := range 1500 { // more than may be unpublished
			bad = append(bad, to(int32(i%2), fmt.Sprintf("BAD%04d", i)))
		}
		c.publish(bad...)
		time.Sleep(5 * time.Minute)
		c.publish(to(2, "GOOD"))
		if o := c.outcomes(1)[0]; o.OutTradeNo != "GOOD" {
			t.Errorf("outcome of %s", o.OutTradeNo)
		}
		time.Sleep(time.Second)
		if at := c.committed()[2].At; at != 1 {
			t.Errorf("committed %d", at)
		}
		began := time.Now()
		stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("stopping with nothing in flight took %v", took)
		}
	})
}

// Topics that somebody has made compacted: requests without a key are retried
// and set aside all the same, and come back as they were.
func TestRequestsWithoutAKeyAreServedOverCompactedTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.validate(kerr.InvalidRecord.Code, func(topic string, r kmsg.Record) string {
			if topic != "requests" && r.Key == nil {
				return "Compacted topic cannot accept message without key in topic partition"
			}
			return ""
		})
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if r.OutTradeNo == "BAD" {
				return consumer.Verdict{Class: consumer.Failed, Code: "PARAM_ERROR", Calls: 1}
			}
			if nth < 2 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		var hook *test.Hook
		defer c.worker(&closing{answer: d.note}, heard(&hook))()
		keyless := func(order string) *kgo.Record { r := to(0, order); r.Key = nil; return r }
		empty := to(0, "EMPTY")
		empty.Key = []byte{}
		poison := keyless("")
		poison.Value, poison.Headers = []byte("not json"), []kgo.RecordHeader{{Key: "a", Value: []byte("1")}}
		c.publish(keyless("AGAIN"), keyless("BAD"), poison, empty)
		for _, o := range c.outcomes(4) {
			if want := map[string]events.Result{"AGAIN": events.Closed, "EMPTY": events.Closed}[o.OutTradeNo]; want != "" && o.Result != want {
				t.Errorf("%s: %s %s", o.OutTradeNo, o.Result, o.Code)
			}
		}
		keys := map[string]bool{}
		for _, r := range append(c.read("dead", 2), c.read("retry.10s", 2)...) {
			if r.Topic == "dead" {
				d, err := records.DecodeDeadLetter(messageOf(r))
				if err != nil || d.Original.Key != nil || !d.StandInKey || len(d.Original.Headers) > 1 {
					t.Errorf("dead letter %+v, %v", d, err)
				}
				replay, err := d.ReplayMessage()
				if err != nil || replay.Key != nil {
					t.Errorf("replay %+v, %v", replay, err)
				}
			} else if d, err := records.DecodeRetry(messageOf(r)); err != nil || (d.Original.Key == nil) != d.StandInKey {
				t.Errorf("retry record %+v, %v", d, err)
			}
			if len(r.Key) > 0 {
				keys[string(r.Key)] = true
			}
		}
		if want := []string{"requests/0/0", "requests/0/1", "requests/0/2"}; len(keys) != 3 || slices.ContainsFunc(want, func(k string) bool { return !keys[k] }) {
			t.Errorf("keys %v, want %v", keys, want)
		}
		time.Sleep(time.Second)
		if at := c.committed()[0].At; at != 4 {
			t.Errorf("committed %d, want 4", at)
		}
		if n := logged(hook, "gets a stand-in key"); n != 2 { // for two topics
			t.Errorf("told %d times of stand-in keys", n)
		}
	})
}

// What counts is the size on the wire: a record that fits compressed loses
// nothing.
func TestARecordThatFitsCompressedIsPublishedWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for _, topic := range []string{"dead", "outcomes", "retry.10s"} {
			c.limit(topic, "20000")
		}
		d := &diary{answer: func(r events.Request, nth int) consumer.Verdict {
			if nth < 2 {
				return consumer.Verdict{Class: consumer.Temporary, Code: "SYSTEMERROR", Calls: 1}
			}
			return closedAnswer
		}}
		var hook *test.Hook
		defer c.worker(&closing{answer: d.note}, heard(&hook))()
		large := bytes.Repeat([]byte("x"), 50000)
		c.publish(
			&kgo.Record{Topic: "requests", Key: []byte("poison"), Value: large},
			&kgo.Record{Topic: "requests", Key: large, Value: []byte(`{"mch_id":"1900000109","out_trade_no":"T1"}`)},
		)
		c.outcomes(2)
		if r := c.read("dead", 1)[0]; !bytes.Equal(r.Value, large) {
			t.Errorf("the dead letter has %d bytes of value", len(r.Value))
		}
		if r := c.read("retry.10s", 1)[0]; !bytes.Equal(r.Key, large) {
			t.Errorf("the retry record has %d bytes of key", len(r.Key))
		}
		for _, r := range c.read("outcomes", 2) {
			if o, _ := events.DecodeOutcome(messageOf(r)); o.OutTradeNo == "T1" && !bytes.Equal(r.Key, large) {
				t.Errorf("the outcome has %d bytes of key", len(r.Key))
			}
		}
		if logged(hook, "shortened") != 0 {
			t.Error("something was shortened")
		}
	})
}
