//go:build !race

package consumer

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// What an open request is counted as is about what it takes on the heap: decoded,
// in its lane, with or without a timer.
func TestAnOpenRequestTakesWhatItIsCountedAs(t *testing.T) {
	const n = 4000
	for sentence, value := range map[string]string{
		"a small one": `{"mch_id":"1900000109","out_trade_no":"T%08d"}`,
		"one with all fields": `{"request_id":"6f1c0e6e-%08d","appid":"wx8888888888888888","mch_id":"1900000109","sub_mch_id":"1900000110","out_trade_no":"20260101120000%08[1]d",` +
			`"reason":"payment_timeout","order_created_at":"2026-01-01T12:00:00Z","expires_at":"2027-01-01T12:00:00Z","replacement_out_trade_no":"R%08[1]d","metadata":{"shop":42,"note":"something"}}`,
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprint(sentence, ", with a timer: ", waits), func(t *testing.T) {
				p := newPartition(t.Context(), topicPartition{"requests", 0})
				p.begin(0, nil)
				f := &fetcher{partition: p}
				l := newLanes(1, func(time.Time) bool { return false }, nil, silent())
				var counted int64
				before := heap()
				for i := range n {
					text := fmt.Sprintf(value, i)
					own := make([]byte, 0, len(text)+9) // as one record is copied out
					own = append(own, text...)
					r := f.request(kafka.Record{Topic: "requests", Offset: int64(i), Time: time.Now(), Message: events.Message{Key: own[len(text):], Value: own[:len(text):len(text)]}})
					if fresh, err := p.open(r); !fresh || err != nil {
						t.Fatal(fresh, err)
					}
					r.read(nil)
					counted += openCost + r.size
					if waits {
						p.after(time.Hour, r, l.add)
					} else {
						l.add(r)
					}
				}
				took := heap() - before
				t.Logf("an open request takes %d bytes and is counted as %d", took/n, counted/n)
				if took > counted*115/100 || took < counted*60/100 {
					t.Errorf("%d bytes for each, and %d are counted", took/n, counted/n)
				}
				runtime.KeepAlive(l)
				p.forget()
			})
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
