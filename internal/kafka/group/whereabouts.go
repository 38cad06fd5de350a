package group

import "encoding/json"

// whereabouts is where a process can be found: what a member says of itself in the user
// data of JoinGroup, as JSON. Who reads it ignores what it does not know.
//
// Abstract sockets belong to a network namespace: Boot and Net name that. Their
// inodes are used again once nobody is in them, which is no mistake: then nobody
// lives there either. Host is asked for beside them because machines that were
// copied while they ran share the others.
type whereabouts struct {
	Boot string `json:"boot"` // /proc/sys/kernel/random/boot_id
	Net  string `json:"net"`  // /proc/self/ns/net
	Host string `json:"host"`
	// Name is of the socket at which the process listens for as long as it lives;
	// empty: nothing follows from its silence.
	Name string `json:"name,omitempty"`
	// Admin is host:port of its admin listener, empty for none.
	Admin string `json:"admin,omitempty"`
}

// record is the whereabouts as it goes on the wire.
func (p whereabouts) record() []byte {
	b, _ := json.Marshal(p) // strings cannot fail
	return b
}

// readWhereabouts reads a record, nothing of what is none.
func readWhereabouts(record []byte) whereabouts {
	var p whereabouts
	if json.Unmarshal(record, &p) != nil {
		return whereabouts{}
	}
	return p
}

// sameMachine reports whether what listens at a loopback address of one of them
// can be reached from the other. Where a system has no boot id and no network
// namespaces the host's name decides.
func (p whereabouts) sameMachine(other whereabouts) bool {
	return p.Host != "" && p.Host == other.Host && p.Boot == other.Boot && p.Net == other.Net
}
