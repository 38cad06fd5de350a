package closer

import (
	"bytes"
	"sync"

	"github.com/closeorder/closeorder/signing"
)

// room is where a run makes a call: it is written over what another left there,
// so that a call allocates the text of its reply and next to nothing else. What
// does not fit is allocated. A run has it from a call until the attempt has been
// observed, and not while it waits. Nothing of it is in a Verdict or in an
// Attempt that an observer has got.
type room struct {
	request  [7]signing.Field // all that there are
	document [512]byte
	body     bytes.Buffer
	reply    [16]signing.Field // a close's, and most queries'
	attempt  Attempt
}

var rooms = sync.Pool{New: func() any { return new(room) }}

// enter takes a room for a call.
func (r *run) enter() {
	if r.room == nil {
		r.room = rooms.Get().(*room)
	}
}

// leave gives it back, and the pending attempt with it.
func (r *run) leave() {
	r.room.attempt = Attempt{}
	clear(r.room.reply[:]) // which keep the text of a reply
	rooms.Put(r.room)
	r.room, r.pending = nil, nil
}
