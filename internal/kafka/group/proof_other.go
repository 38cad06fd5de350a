//go:build !linux

package group

import "os"

// LocalProof knows nothing of other processes here: abstract unix sockets are
// Linux's. It says where this one is.
type LocalProof struct{ here whereabouts }

// NewLocalProof makes one. admin is host:port of this process's admin listener,
// empty for none.
func NewLocalProof(admin string) *LocalProof {
	p := &LocalProof{here: here()}
	p.here.Admin = admin
	return p
}

// here is where this process is.
func here() whereabouts {
	host, err := os.Hostname()
	if err != nil {
		return whereabouts{}
	}
	return whereabouts{Host: host}
}

// Close does nothing.
func (*LocalProof) Close() {}

// Record implements [Proof].
func (*LocalProof) Record() []byte { return nil }

// Whereabouts says where the process is. See Config.Whereabouts.
func (p *LocalProof) Whereabouts() []byte { return p.here.record() }

// Dead implements [Proof].
func (*LocalProof) Dead([]byte) bool { return false }
