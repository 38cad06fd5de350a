//go:build examples

// Package examples holds the clients in other languages to what they are
// examples of. They run as anybody would run them: from their lock files,
// against closeorder dev.
package examples

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/golden"
	"github.com/closeorder/closeorder/internal/leftout"
)

// client is an example in another language. Its commands run in its folder,
// which has its name; one that is in this folder begins with "./".
type client struct {
	name string
	// needs are commands that succeed where the tools of the language are.
	needs [][]string
	// setup installs what the lock file names, and builds.
	setup [][]string
	// unit are the tests that need no broker.
	unit []string
	// request and follow are the two commands that every client has.
	request, follow []string
}

var clients = []client{
	{
		name:  "python",
		needs: [][]string{{"python3", "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"}},
		setup: [][]string{
			{"python3", "-m", "venv", ".venv"},
			{"./.venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.lock"},
		},
		unit:    []string{"./.venv/bin/python", "-m", "unittest"},
		request: []string{"./.venv/bin/python", "request.py"},
		follow:  []string{"./.venv/bin/python", "follow.py"},
	},
	{
		name:    "java",
		needs:   [][]string{{"javac", "--version"}, {"mvn", "--version"}},
		setup:   [][]string{{"mvn", "-B", "-q", "-DskipTests", "package"}},
		unit:    []string{"mvn", "-B", "-q", "test"},
		request: []string{"java", "-cp", "target/lib/*", "shop.Request"},
		follow:  []string{"java", "-cp", "target/lib/*", "shop.Follow"},
	},
	{
		name:    "node",
		needs:   [][]string{{"node", "-e", "process.exit(Number(process.versions.node.split('.')[0] < 20))"}, {"npm", "--version"}},
		setup:   [][]string{{"npm", "ci"}},
		unit:    []string{"node", "--test"},
		request: []string{"node", "request.mjs"},
		follow:  []string{"node", "follow.mjs"},
	},
}

const (
	requests = "../testdata/examples/requests.ndjson"
	actions  = "../testdata/examples/actions.golden"
)

// All clients do the same about the same outcomes, each request once, and lose
// nothing when they are killed.
func TestClients(t *testing.T) {
	closeorder := build(t)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			c.prepare(t)
			brokers := dev(t, closeorder)
			c.publish(t, brokers)
			others(t, brokers)
			t.Run("it acts on each request once", func(t *testing.T) { c.actsOnce(t, brokers) })
			t.Run("it is killed, and nothing is lost", func(t *testing.T) { c.isKilled(t, brokers) })
			t.Run("all requests are answered", func(t *testing.T) {
				run(t, ".", nil, []string{closeorder, "audit", "--kafka-brokers", brokers})
			})
		})
	}
}

// prepare installs the client, and runs its own tests.
func (c client) prepare(t *testing.T) {
	t.Helper()
	for _, need := range c.needs {
		if out, err := command(t, c.name, need).CombinedOutput(); err != nil {
			leftout.Test(t, fmt.Sprintf("missing for %s: %q: %v\n%s", c.name, need, err, out))
		}
	}
	for _, step := range c.setup {
		run(t, c.name, nil, step)
	}
	run(t, c.name, nil, c.unit)
}

// publish has the client publish requests: by lines, and one by flags.
func (c client) publish(t *testing.T, brokers string) {
	t.Helper()
	lines, err := os.ReadFile(requests)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c.name, lines, c.request, "--brokers", brokers)
	run(t, c.name, nil, c.request, "--brokers", brokers,
		"--mch-id", "1900000110", "--out-trade-no", "T2026020100100", "--replacement", "T2026020100100-2", "--request-id", "by-flags",
		"--order-created-at", "2026-01-31T08:00:00Z", "--reason", "payment_failed")
	areAsTheContractSays(t, brokers, bytes.Count(lines, []byte("\n"))+1)
}

// actsOnce holds the actions to the golden file, which is the same for all.
func (c client) actsOnce(t *testing.T, brokers string) {
	f := c.follows(t, brokers, "once", "--exit-after", strconv.Itoa(len(wanted(t))))
	var got []string
	for line := range f.lines {
		got = append(got, line)
	}
	f.ended(t)
	slices.Sort(got)
	golden.Check(t, actions, strings.Join(got, "\n")+"\n")
}

// isKilled kills a follower in its work. What the next one finds in the group
// is not done yet: it may act again, as what it keeps is in memory, and must
// act on all that is left.
func (c client) isKilled(t *testing.T, brokers string) {
	missing := map[string]bool{}
	for _, line := range wanted(t) {
		missing[line] = true
	}
	known := maps.Clone(missing)
	see := func(line string) {
		if !known[line] {
			t.Errorf("acts otherwise: %s", line)
		}
		delete(missing, line)
	}
	first := c.follows(t, brokers, "killed")
	for range 3 {
		see(first.next(t))
	}
	first.kill(t)
	for line := range first.lines {
		see(line)
	}
	// One that only the second can act on, if the first was quick.
	run(t, c.name, nil, c.request, "--brokers", brokers, "--mch-id", "1900000109", "--out-trade-no", "T2026020100300", "--request-id", "after-the-kill")
	after := `{"action":"give_up","out_trade_no":"T2026020100300","request_id":"after-the-kill"}`
	missing[after], known[after] = true, true

	second := c.follows(t, brokers, "killed")
	for len(missing) > 0 {
		see(second.next(t))
	}
	second.terminate(t)
	if got := committed(t, brokers, "killed"); got < int64(len(known)) {
		t.Errorf("have acted on %d outcomes, and committed %d", len(known), got)
	}
}

// wanted are the lines of the golden file.
func wanted(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(actions)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
