package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// codecs by their number in the attributes of a batch.
var codecs = [...]func(zstds *zstdDecoder, packed, room []byte) ([]byte, error){
	0: nil,
	1: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return stream(compress.Gzip, packed, room) },
	2: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return unsnap(packed, room) },
	3: func(_ *zstdDecoder, packed, room []byte) ([]byte, error) { return stream(compress.Lz4, packed, room) },
	4: (*zstdDecoder).unpack,
}

// unpack appends to room, which is empty, what packed unpacks to. It never takes
// more memory for it than room has: errRoom says that there is more. What a
// library ends with, a panic too, is an error.
func unpack(codec int8, zstds *zstdDecoder, packed, room []byte) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("unpacking it failed: %v", p)
		}
	}()
	return codecs[codec](zstds, packed, room)
}

// leastRoom is what a batch gets to unpack to at first.
const leastRoom = 4 << 10

// unpack gets room for a batch and unpacks it there. The first room is a guess
// by the packed size; what needs more begins anew with four times as much, as
// nobody may hold some room and wait for more. Where wait is false and there is
// no room at the moment it returns nil.
func (b *budget) unpack(ctx context.Context, codec int8, zstds *zstdDecoder, packed []byte, wait bool) (u *unpacked, reason string, err error) {
	room := min(max(leastRoom, 4*int64(len(packed))), b.batch)
	for {
		u, err := b.take(ctx, room, wait)
		if u == nil {
			return nil, "", err
		}
		u.data, err = unpack(codec, zstds, packed, make([]byte, 0, room))
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
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, errRoom
	}
	return data, err
}
