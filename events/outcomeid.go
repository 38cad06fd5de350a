package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// OutcomeID returns the event id of the outcome of one record: the same for
// every repeat of the answer, whatever the answer is, and another one for any
// other request, order, record or replay number. source is the record in the
// requests topic, also for an answer that comes by way of a retry topic.
//
// It is a UUID of version 8 (RFC 9562, section 5.8) made of the first 128
// bits of SHA-256 over the text "closeorder outcome v1", request_id, mch_id,
// sub_mch_id, out_trade_no, topic, partition, offset and replay number: a text
// as its length in 8 bytes big-endian and its bytes, a number as 8 bytes
// big-endian.
func OutcomeID(requestID string, order Order, source Source, replay int) string {
	var stack [512]byte
	b := stack[:0]
	text := func(s string) {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n int64) { b = binary.BigEndian.AppendUint64(b, uint64(n)) }
	text("closeorder outcome v1")
	text(requestID)
	text(order.MchID)
	text(order.SubMchID)
	text(order.OutTradeNo)
	text(source.Topic)
	number(int64(source.Partition))
	number(source.Offset)
	number(int64(replay))

	sum := sha256.Sum256(b)
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80 // version 8
	id[8] = id[8]&0x3f | 0x80 // variant 10
	var uuid [36]byte
	out := hex.AppendEncode(uuid[:0], id[:4])
	for _, part := range [...][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		out = hex.AppendEncode(append(out, '-'), part)
	}
	return string(out)
}
