package consumer

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
)

// maxMetadata is how long commit metadata may be at a broker with default
// settings (offset.metadata.max.bytes). The window makes sure that ours is
// never longer: a bit per offset of the window is 2 KiB, base64 makes 2.7 KiB
// of it.
const maxMetadata = 4096

// metadataPrefix names the format: closeorder, version 1. The rest is base64
// of an encoding byte, the payload and a CRC-32C over topic, partition,
// committed offset, encoding and payload, so that metadata which was damaged,
// or copied to another place or offset, is not believed: a wrong one would
// mark requests as done that nobody has answered.
const metadataPrefix = "co1:"

const (
	encodingRuns = 'r' // uvarint pairs: gap to the next run, length of it less one
	encodingBits = 'b' // bit set from the committed offset on, lowest bit first
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeMetadata renders the offsets finished above the committed one, which
// must lie inside of the window. Nothing finished is the empty text.
func encodeMetadata(topic string, partition int, committed int64, above []span) string {
	if len(above) == 0 {
		return ""
	}
	runs := []byte{encodingRuns}
	at := committed
	for _, s := range above {
		runs = binary.AppendUvarint(runs, uint64(s.first-at))
		runs = binary.AppendUvarint(runs, uint64(s.last-s.first))
		at = s.last + 1
	}
	payload := runs
	if size := 1 + int(at-committed+7)/8; size < len(runs) {
		payload = make([]byte, size)
		payload[0] = encodingBits
		for _, s := range above {
			for o := s.first - committed; o <= s.last-committed; o++ {
				payload[1+o/8] |= 1 << (o % 8)
			}
		}
	}
	payload = binary.BigEndian.AppendUint32(payload, metadataSum(topic, partition, committed, payload))
	return metadataPrefix + base64.RawStdEncoding.EncodeToString(payload)
}

// decodeMetadata is the reverse. The empty text is nothing finished. Any text
// that is not exactly what encodeMetadata makes for this place is an error,
// and then nothing may be skipped.
func decodeMetadata(topic string, partition int, committed int64, text string) ([]span, error) {
	if text == "" {
		return nil, nil
	}
	rest, ours := strings.CutPrefix(text, metadataPrefix)
	if !ours {
		return nil, errors.New("not written by closeorder, or by a version unknown to this one")
	}
	if len(text) > maxMetadata {
		return nil, fmt.Errorf("%d bytes long, more than %d", len(text), maxMetadata)
	}
	if strings.ContainsAny(rest, "\r\n") { // base64 would pass over them
		return nil, errors.New("damaged: line break")
	}
	payload, err := base64.RawStdEncoding.Strict().DecodeString(rest)
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	if len(payload) < 5 {
		return nil, errors.New("too short")
	}
	payload, sum := payload[:len(payload)-4], binary.BigEndian.Uint32(payload[len(payload)-4:])
	if sum != metadataSum(topic, partition, committed, payload) {
		return nil, errors.New("the checksum does not match this topic, partition and offset")
	}
	switch payload[0] {
	case encodingRuns:
		return decodeRuns(committed, payload[1:])
	case encodingBits:
		return decodeBits(committed, payload[1:])
	}
	return nil, fmt.Errorf("unknown encoding %q", payload[0])
}

// Finished reads a commit as closeorder makes it: the returned function says
// of an offset of that partition whether a worker has finished it, below the
// committed offset or, by the metadata, above it. Metadata that closeorder did
// not write for this place is an error, and then counts for nothing: the
// function knows the committed offset alone. It is safe for concurrent use.
func Finished(topic string, partition int, committed int64, metadata string) (func(offset int64) bool, error) {
	above, err := decodeMetadata(topic, partition, committed, metadata)
	return func(offset int64) bool {
		if offset < committed {
			return true
		}
		i, _ := slices.BinarySearchFunc(above, offset, func(s span, o int64) int { return cmp.Compare(s.last, o) })
		return i < len(above) && above[i].first <= offset
	}, err
}

func decodeRuns(committed int64, b []byte) ([]span, error) {
	var spans []span
	at, end := committed, committed+window
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		more, m := binary.Uvarint(b[max(n, 0):])
		if n <= 0 || m <= 0 {
			return nil, errors.New("damaged run length")
		}
		b = b[n+m:]
		// Bounds first: a huge number must not wrap into a small one.
		if gap > window || more > window {
			return nil, errors.New("run length beyond the window")
		}
		s := span{first: at + int64(gap), last: at + int64(gap+more)}
		if s.first <= committed || s.last >= end {
			return nil, errors.New("run beyond the window")
		}
		spans = append(spans, s)
		at = s.last + 1
	}
	return spans, nil
}

func decodeBits(committed int64, b []byte) ([]span, error) {
	if len(b)*8 > window {
		return nil, errors.New("bit set beyond the window")
	}
	var spans []span
	for i := range int64(len(b) * 8) {
		if b[i/8]&(1<<(i%8)) != 0 {
			spans = extend(spans, committed+i)
		}
	}
	if len(spans) > 0 && spans[0].first == committed {
		return nil, errors.New("the committed offset itself is marked as finished")
	}
	return spans, nil
}

func metadataSum(topic string, partition int, committed int64, payload []byte) uint32 {
	place := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	place = append(place, topic...)
	place = binary.BigEndian.AppendUint32(place, uint32(partition))
	place = binary.BigEndian.AppendUint64(place, uint64(committed))
	return crc32.Update(crc32.Checksum(place, castagnoli), castagnoli, payload)
}
