package group

import (
	"context"
	"crypto/rand"
	"encoding/json"
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
	here     socketRecord
}

// socketRecord says where a process listens. Abstract sockets belong to a network
// namespace: Boot and Net name that. Their inodes are used again once nobody is
// in them, which is no mistake: then nobody lives there either. Host is asked for
// beside them because machines that were copied while they ran share the others.
type socketRecord struct {
	Boot string `json:"boot"` // /proc/sys/kernel/random/boot_id
	Net  string `json:"net"`  // /proc/self/ns/net
	Host string `json:"host"`
	Name string `json:"name"` // of the socket
}

// NewLocalProof listens. It costs a descriptor and no goroutine: connections
// are not taken, that they can be made is all. Where something is missing nobody
// can be found, and nobody is.
func NewLocalProof() *LocalProof {
	p := &LocalProof{}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return p
	}
	namespace, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return p
	}
	host, err := os.Hostname()
	if err != nil {
		return p
	}
	here := socketRecord{Boot: strings.TrimSpace(string(boot)), Net: namespace, Host: host, Name: "@closeorder-" + rand.Text()}
	if p.listener, err = net.Listen("unix", here.Name); err != nil {
		p.listener = nil
		return p
	}
	p.here = here
	p.record, _ = json.Marshal(here) // strings cannot fail
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

// Dead implements [Proof]: true only where the kernel says that no socket has
// the name. No permission, a full queue and whatever else prove nothing.
func (p *LocalProof) Dead(record []byte) bool {
	var there socketRecord
	if p.listener == nil || json.Unmarshal(record, &there) != nil {
		return false
	}
	if there.Boot != p.here.Boot || there.Net != p.here.Net || there.Host != p.here.Host || !strings.HasPrefix(there.Name, "@closeorder-") {
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
