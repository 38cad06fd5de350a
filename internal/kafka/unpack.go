package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// Defaults of Config.UnpackedBatch and Config.UnpackedTotal.
const (
	defaultUnpackedBatch = 64 << 20
	defaultUnpackedTotal = 256 << 20
)

// errRoom: a batch unpacks to more than the room that it was given.
var errRoom = errors.New("it unpacks to more")

// codec unpacks one kind of compression.
type codec struct {
	// unpack appends to room, which is empty, and never takes more memory for
	// what it unpacks to.
	unpack func(zstds *zstdDecoder, packed, room []byte) ([]byte, error)
	// most is what packed unpacks to at most, as far as that can be told without
	// unpacking; nil where it cannot.
	most func(packed []byte) int64
}

// codecs by their number in the attributes of a batch.
var codecs = [...]codec{
	0: {},
	1: {unpack: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return stream(compress.Gzip, packed, room) }},
	2: {unpack: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return unsnap(packed, room) }},
	3: {unpack: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return stream(compress.Lz4, packed, room) }},
	4: {unpack: (*zstdDecoder).unpack, most: zstdMost},
}

// unpack appends to room, which is empty, what packed unpacks to. It never takes
// more memory for it than room has: errRoom says that there is more. What a
// library ends with, a panic too, is an error.
func unpack(number int8, zstds *zstdDecoder, packed, room []byte) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("unpacking it failed: %v", p)
		}
	}()
	return codecs[number].unpack(zstds, packed, room)
}

// leastRoom is what a batch gets to unpack to at first.
const leastRoom = 4 << 10

// unpack gets room for a batch and unpacks it there. Where its codec cannot say
// how much it needs it gets a guess by the packed size; what needs more begins
// anew with four times as much, as nobody may hold some room and wait for more.
// Where wait is false and there is no room at the moment it returns nil.
func (b *budget) unpack(ctx context.Context, number int8, zstds *zstdDecoder, packed []byte, wait bool) (u *unpacked, reason string, err error) {
	room := 4 * int64(len(packed))
	if most := codecs[number].most; most != nil {
		room = most(packed)
	}
	room = min(max(leastRoom, room), b.batch)
	for {
		u, err := b.take(ctx, room, wait)
		if u == nil {
			return nil, "", err
		}
		u.data, err = unpack(number, zstds, packed, u.room())
		if err == nil {
			return u, "", nil
		}
		b.drop(u)
		switch {
		case !errors.Is(err, errRoom):
			return nil, fmt.Sprintf("it cannot be unpacked: %v", err), nil
		case room == b.batch:
			return nil, b.tooMuch(), nil
		}
		room = min(4*room, b.batch)
	}
}

// tooMuch is the reason of a batch that is over the limit.
func (b *budget) tooMuch() string {
	size := fmt.Sprintf("%d bytes", b.batch)
	if b.batch%(1<<20) == 0 {
		size = fmt.Sprintf("%d MiB", b.batch>>20)
	}
	return "it unpacks to more than " + size + " (kafka.unpacked_batch)"
}

// stream unpacks with a codec of kafka-go's that never holds more than a block.
func stream(codec compress.Compression, packed, room []byte) ([]byte, error) {
	r := codec.Codec().NewReader(bytes.NewReader(packed))
	defer r.Close()
	for {
		if len(room) == cap(room) {
			var one [1]byte
			if _, err := io.ReadFull(r, one[:]); err == nil {
				return nil, errRoom
			} else if !errors.Is(err, io.EOF) {
				return nil, err
			}
			return room, nil
		}
		n, err := r.Read(room[len(room):cap(room)])
		room = room[:len(room)+n]
		if errors.Is(err, io.EOF) {
			return room, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// xerial is how Java's producers frame snappy: this, two versions, and blocks
// with their length before them. Others send one block and no frame.
var xerial = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

// unsnap unpacks snappy. kafka-go's codec takes memory for whatever a block
// claims.
func unsnap(packed, room []byte) ([]byte, error) {
	if !bytes.HasPrefix(packed, xerial) {
		return unsnapBlock(packed, room)
	}
	if len(packed) < 16 {
		return nil, io.ErrUnexpectedEOF
	}
	for packed = packed[16:]; len(packed) > 0; {
		if len(packed) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(packed)
		if packed = packed[4:]; int64(n) > int64(len(packed)) {
			return nil, fmt.Errorf("a block of it claims %d of %d bytes", n, len(packed))
		}
		var err error
		if room, err = unsnapBlock(packed[:n], room); err != nil {
			return nil, err
		}
		packed = packed[n:]
	}
	return room, nil
}

func unsnapBlock(block, room []byte) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	switch {
	case err != nil:
		return nil, err
	case n/64 > len(block): // two bytes make 64 at most
		return nil, fmt.Errorf("a block of %d bytes claims to unpack to %d", len(block), n)
	case n > cap(room)-len(room):
		return nil, errRoom
	}
	from := len(room)
	if _, err := snappy.Decode(room[from:from:cap(room)], block); err != nil {
		return nil, err
	}
	return room[:from+n], nil
}

// zstdDecoder makes a decoder when it is first needed. Each client has its own:
// the channels in it would tie a synctest bubble to another one.
type zstdDecoder struct {
	once sync.Once
	d    *zstd.Decoder
	err  error
}

func (z *zstdDecoder) unpack(packed, room []byte) ([]byte, error) {
	z.once.Do(func() {
		z.d, z.err = zstd.NewReader(nil, zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	})
	if z.err != nil {
		return nil, z.err
	}
	data, err := z.d.DecodeAll(packed, room)
	if err != nil && zstdMost(packed) > int64(cap(room)) {
		return nil, errRoom // the library has more than one error for that
	}
	return data, err
}

// zstdBlock is the most that a block of zstd unpacks to (RFC 8878, Blocks).
const zstdBlock = 128 << 10

// zstdMost goes over the blocks of packed, and asks for a little more than they
// can unpack to. Of what is no zstd it says what it has seen until then.
func zstdMost(packed []byte) (most int64) {
	const spare = 64
	for len(packed) > 0 {
		var h zstd.Header
		if h.Decode(packed) != nil || h.HeaderSize > len(packed) {
			break
		}
		if packed = packed[h.HeaderSize:]; h.Skippable {
			if int64(h.SkippableSize) > int64(len(packed)) {
				break
			}
			packed = packed[h.SkippableSize:]
			continue
		}
		before := most
		for last := false; !last && len(packed) >= 3; {
			block := int(packed[0]) | int(packed[1])<<8 | int(packed[2])<<16
			last = block&1 != 0
			size, unpacked := block>>3, block>>3
			switch block >> 1 & 3 {
			case 1: // one byte, over and over
				size = 1
			case 2:
				unpacked = zstdBlock
			}
			most += int64(min(unpacked, zstdBlock))
			packed = packed[min(3+size, len(packed)):]
		}
		if h.HasFCS {
			most = min(most, before+int64(min(h.FrameContentSize, math.MaxInt32)))
		}
		if h.HasCheckSum {
			packed = packed[min(4, len(packed)):]
		}
	}
	return most + spare
}
