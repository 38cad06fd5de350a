package deadletters

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/closeorder/closeorder/events"
	"github.com/closeorder/closeorder/internal/kafka"
)

// Export writes the dead letters of a stretch that the filter chooses, as lines of
// JSON, and returns their number. What is no dead letter is exported like any other
// record. A record is written as it stands: one without its value stays so. Each
// line is one Write. seen is told of every record.
func Export(ctx context.Context, r *kafka.Reader, s Stretch, f Filter, seen func(), to io.Writer) (n int, err error) {
	err = each(ctx, r, s, f, seen, func(rec kafka.Record, _ Letter) error {
		var line bytes.Buffer
		enc := json.NewEncoder(&line)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(lineOf(rec)); err != nil {
			return err
		}
		n++
		_, err := to.Write(line.Bytes())
		return err
	})
	return n, err
}

// Import puts exported dead letters back into a dead-letter topic, byte for byte,
// and leaves out those that stand there already, so that it can be repeated.
type Import struct {
	Reader *kafka.Reader
	Writer *kafka.Writer
	// Topic is the dead-letter topic.
	Topic string
	// Write: write them. Without it, only count.
	Write bool
	// Patience is how long one write may take; what is being written when the
	// context ends gets so much time too.
	Patience time.Duration
	// OnTotal is told how many records of the topic will be read first, and
	// OnRead of each.
	OnTotal func(n int64)
	OnRead  func(n int)
	// OnLeft is told of each line that is not written: it is no dead letter, or
	// the topic does not take it.
	OnLeft func(line int, err error)
}

// Imported counts the lines of an import.
type Imported struct {
	// Lines are all; Written were, or would be; There are in the topic already, or
	// stand in the file twice; Left are those that OnLeft was told of.
	Lines, Written, There, Left int
}

// maxLine bounds a line: a record of Kafka may have as much, and base64 is longer.
const maxLine = 256 << 20

// fingerprint tells records apart by all their bytes.
type fingerprint [sha256.Size]byte

func fingerprintOf(m events.Message) (f fingerprint) {
	h := sha256.New()
	part := func(b []byte) {
		size := int64(len(b))
		if b == nil {
			size = -1
		}
		_ = binary.Write(h, binary.BigEndian, size)
		h.Write(b)
	}
	part(m.Key)
	part(m.Value)
	for _, header := range m.Headers {
		part([]byte(header.Key))
		part(header.Value)
	}
	h.Sum(f[:0])
	return f
}

// Run reads the lines and writes what is missing. A line that cannot be read ends
// it, with an error that names the line; those before it are written, and the same
// lines once more write none of them twice.
func (i Import) Run(ctx context.Context, lines io.Reader) (done Imported, err error) {
	partitions, err := i.Reader.Partitions(ctx, i.Topic)
	if err != nil {
		return done, err
	}
	there, err := i.there(ctx)
	if err != nil {
		return done, err
	}
	var batch []events.Message
	var to, numbers []int
	size := 0
	flush := func() error {
		err := i.write(ctx, batch, to, numbers, &done)
		batch, to, numbers, size = batch[:0], to[:0], numbers[:0], 0
		return err
	}
	in := bufio.NewScanner(lines)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	for in.Scan() {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		done.Lines++
		line, failure := parseLine(in.Bytes())
		if failure != nil {
			return done, errors.Join(flush(), fmt.Errorf("line %d %w", done.Lines, failure))
		}
		m := line.Message()
		f := fingerprintOf(m)
		l := read(kafka.Record{Message: m, Topic: i.Topic})
		switch {
		case l.Err != nil:
			done.Left++
			i.OnLeft(done.Lines, fmt.Errorf("is no dead letter: %w", l.Err))
		case there[f]:
			done.There++
		default:
			there[f] = true
			partition := kafka.ByKey
			if 0 <= line.Partition && line.Partition < partitions {
				partition = line.Partition
			}
			batch, to, numbers = append(batch, m), append(to, partition), append(numbers, done.Lines)
			if size += len(in.Bytes()); len(batch) == 500 || size >= chunkBytes {
				if err := flush(); err != nil {
					return done, err
				}
			}
		}
		if ctx.Err() != nil {
			return done, errors.Join(flush(), context.Cause(ctx))
		}
	}
	return done, errors.Join(flush(), in.Err())
}

// there are the records that stand in the topic.
func (i Import) there(ctx context.Context) (map[fingerprint]bool, error) {
	s, err := stretch(ctx, i.Reader, i.Topic, time.Time{})
	if err != nil {
		return nil, err
	}
	i.OnTotal(s.Records())
	there := map[fingerprint]bool{}
	return there, i.Reader.Read(ctx, s.Topic, s.From, s.To, func(rec kafka.Record) error {
		there[fingerprintOf(rec.Message)] = true
		i.OnRead(1)
		return nil
	})
}

// write writes some records, also when ctx ends meanwhile.
func (i Import) write(ctx context.Context, batch []events.Message, to, numbers []int, done *Imported) error {
	if len(batch) == 0 {
		return nil
	}
	if !i.Write {
		done.Written += len(batch)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), i.Patience)
	defer cancel()
	results, _ := i.Writer.Write(ctx, i.Topic, batch, to...)
	var failure error
	for n, r := range results {
		var refused *kafka.RefusedError
		switch {
		case r.Err == nil:
			done.Written++
		case errors.As(r.Err, &refused):
			done.Left++
			i.OnLeft(numbers[n], r.Err)
		case failure == nil:
			failure = fmt.Errorf("import: %w", r.Err)
		}
	}
	return failure
}
