package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestMain is the shop itself where a test starts it as a process: so it can be
// killed, and the race detector looks on.
func TestMain(m *testing.M) {
	if os.Getenv("SHOP_TEST_RUNS_MAIN") != "" {
		main()
		os.Exit(0)
	}
	flag.Parse()
	// The tests wait for processes: more of them at once than there are processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	dev.end()
	if postgres.stop != nil {
		postgres.stop()
	}
	os.Exit(code)
}

// dev is one "closeorder dev" for all tests: the shops have names of their own.
var dev devProcess

type devProcess struct {
	once             sync.Once
	cmd              *exec.Cmd
	folder           string
	brokers, gateway string
	out              output
	err              error
}

// closeorderDev starts it when the first test wants it.
func closeorderDev(t *testing.T) *devProcess {
	t.Helper()
	dev.once.Do(func() { dev.err = dev.start() })
	if dev.err != nil {
		t.Fatalf("closeorder dev: %v\n%s", dev.err, dev.out.String())
	}
	return &dev
}

func (d *devProcess) start() error {
	folder, err := os.MkdirTemp("", "shop-test")
	if err != nil {
		return err
	}
	d.folder = folder
	binary := filepath.Join(folder, "closeorder")
	build := exec.CommandContext(context.Background(), "go", "build", "-C", "../..", "-trimpath", "-o", binary, "./cmd/closeorder")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	d.cmd = exec.CommandContext(context.Background(), binary, "dev", "--requests", "0", "--kafka-port", "0", "--gateway-port", "0")
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		return err
	}
	for _, want := range []struct {
		pattern string
		into    *string
	}{{`Kafka +(127\.0\.0\.1:\d+)`, &d.brokers}, {`Gateway +(http://\S+)`, &d.gateway}} {
		pattern := regexp.MustCompile(want.pattern)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			if found := pattern.FindStringSubmatch(d.out.String()); found != nil {
				*want.into = found[1]
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("it does not say %s", want.pattern)
			}
		}
	}
	return nil
}

func (d *devProcess) end() {
	if d.cmd != nil && d.cmd.Process != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		_ = d.cmd.Wait()
	}
	_ = os.RemoveAll(d.folder)
}

// output is what a process has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// shopProcess is the shop as its users start it.
type shopProcess struct {
	db             string
	cmd            *exec.Cmd
	stdout, stderr output
	ended          chan struct{}
}

func startShop(t *testing.T, db string, purchases int) *shopProcess {
	t.Helper()
	d := closeorderDev(t)
	p := &shopProcess{db: db, ended: make(chan struct{})}
	p.cmd = exec.CommandContext(context.Background(), os.Args[0], "-db", db, "-brokers", d.brokers, "-gateway", d.gateway, "-purchases", fmt.Sprint(purchases), "-json")
	p.cmd.Env = append(os.Environ(), "SHOP_TEST_RUNS_MAIN=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is looked at
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends it as a power cut would.
func (p *shopProcess) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// end waits until it has ended by itself, with the balance right, and returns
// what it says.
func (p *shopProcess) end(t *testing.T) balance {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(4 * time.Minute):
		p.kill()
		db := look(t, p.db)
		t.Fatalf("the shop does not end\ngroup: %s\nnumbers: %q\nto send: %q\nto do: %q\n%s",
			groupOf(t, db), column(t, db, `SELECT out_trade_no || ' ' || state || ' ' || requests FROM payments WHERE state NOT IN ('closed', 'paid')`),
			column(t, db, `SELECT request_id FROM outbox WHERE sent_at IS NULL`),
			column(t, db, `SELECT kind || ' ' || subject || ' ' || what FROM todo WHERE done_at IS NULL`), p.stderr.String())
	}
	var b balance
	err := json.Unmarshal([]byte(p.stdout.String()), &b)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, p.stdout.String(), p.stderr.String())
	}
	return b
}

// consumerGroup is the shop's, and a client for it that ends with the test.
func consumerGroup(t *testing.T, db *database) (admin *kadm.Client, group string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(closeorderDev(t).brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	name, err := db.shopName(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return kadm.NewClient(cl), "shop-" + name
}

// groupOf says how the shop's consumer group is.
func groupOf(t *testing.T, db *database) string {
	t.Helper()
	admin, name := consumerGroup(t, db)
	groups, err := admin.DescribeGroups(t.Context(), name)
	group := groups[name]
	return fmt.Sprintf("%s, %d members, %v", group.State, len(group.Members), err)
}

// databases are what each test of a whole shop runs on.
var databases = map[string]func(t *testing.T) string{
	"SQLite":     func(t *testing.T) string { return filepath.Join(t.TempDir(), "shop.db") },
	"PostgreSQL": postgresDatabase,
}

// look opens a shop's database beside it.
func look(t *testing.T, where string) *database {
	t.Helper()
	db, err := openDatabase(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// until asks until the answer is yes.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %s", what)
		}
	}
}

// column reads one column of text.
func column(t *testing.T, db *database, query string, args ...any) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// mustExec changes a shop's database from outside.
func mustExec(t *testing.T, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// topic reads all that stands in a topic now.
func topic(t *testing.T, name string) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(closeorderDev(t).brokers), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var all []*kgo.Record
	var left int64
	ends.Each(func(end kadm.ListedOffset) { left += end.Offset })
	for int64(len(all)) < left {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}
