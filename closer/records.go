package closer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// recordHead is the length of the head of a TLS record (RFC 8446, section 5.1).
const recordHead = 5

var errTornRecord = errors.New("the connection ended in the middle of a TLS record")

// records is a connection beneath TLS that hands out one record at a time.
// crypto/tls by itself takes in all that has come, and tells nobody what is
// behind the record that it has read: bytes that came unasked would be taken
// for the reply to the next request.
type records struct {
	net.Conn
	in   *bufio.Reader
	left int // bytes of the present record that have not been handed out
}

func newRecords(c net.Conn) *records {
	return &records{Conn: c, in: bufio.NewReaderSize(c, 4<<10)}
}

// Read implements net.Conn.
func (r *records) Read(b []byte) (int, error) {
	if r.left == 0 {
		head, err := r.in.Peek(recordHead)
		if err != nil {
			if err == io.EOF && len(head) > 0 {
				err = errTornRecord
			}
			return 0, err
		}
		r.left = recordHead + int(binary.BigEndian.Uint16(head[recordHead-2:]))
	}
	n, err := r.in.Read(b[:min(len(b), r.left)])
	r.left -= n
	return n, err
}

// between reports whether nothing has come behind the last record that was
// handed out whole.
func (r *records) between() bool { return r.left == 0 && r.in.Buffered() == 0 }
