package group

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// LocalProof is what processes of one machine know of each other: each listens
// at a unix socket with a random name in the abstract namespace, which ends with
// the process however it ends, and says in its record where that is. Where
// nobody listens nobody lives.
type LocalProof struct {
	listener net.Listener
	record   []byte
	here     whereabouts
}

// NewLocalProof listens. It costs a descriptor and no goroutine: connections
// are not taken, that they can be made is all. Where something is missing nobody
// can be found, and nobody is. admin is host:port of this process's admin
// listener, which its record says too; empty for none.
func NewLocalProof(admin string) *LocalProof {
	p := &LocalProof{here: here()}
	p.here.Admin = admin
	if p.here.Boot == "" || p.here.Net == "" || p.here.Host == "" {
		return p
	}
	there := p.here
	there.Name = socketPrefix + rand.Text()
	var err error
	if p.listener, err = net.Listen("unix", there.Name); err != nil {
		p.listener = nil
		return p
	}
	p.record = there.record()
	return p
}

// socketPrefix begins the names of the sockets.
const socketPrefix = "@closeorder-"

// here is where this process is; what cannot be found out is empty.
func here() whereabouts {
	var p whereabouts
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		p.Boot = strings.TrimSpace(string(boot))
	}
	if namespace, err := os.Readlink("/proc/self/ns/net"); err == nil {
		p.Net = namespace
	}
	if host, err := os.Hostname(); err == nil {
		p.Host = host
	}
	return p
}

// Close ends what [LocalProof.Record] says: call it when the group has been left.
func (p *LocalProof) Close() {
	if p.listener != nil {
		p.listener.Close()
	}
}

// Record implements [Proof].
func (p *LocalProof) Record() []byte { return p.record }

// Whereabouts is the record without the socket: where the process is, and nothing that
// its death would follow from. See Config.Whereabouts.
func (p *LocalProof) Whereabouts() []byte { return p.here.record() }

// Dead implements [Proof]: true only where the kernel says that no socket has
// the name. No permission, a full queue and whatever else prove nothing.
func (p *LocalProof) Dead(record []byte) bool {
	there := readWhereabouts(record)
	if p.listener == nil || !p.here.sameMachine(there) || !strings.HasPrefix(there.Name, socketPrefix) {
		return false
	}
	soon, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(soon, "unix", there.Name)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
