//go:build apachekafka

package drills

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/apachekafka"
	"github.com/closeorder/closeorder/internal/gatewaysim"
)

// waitLimit bounds every wait for something that must happen, askLimit the answer
// of an admin address: longer than a kubelet waits, as machines of tests are slow.
const (
	waitLimit = 2 * time.Minute
	askLimit  = 10 * time.Second
)

// scene is one worker beside one gateway, with topics and a group of its own on a
// cluster that others may share.
type scene struct {
	t         *testing.T
	kafka     *apachekafka.Cluster
	id        string // begins the names of topics and group, with a dot
	env       []string
	admin     string // host:port
	merchants string // the file
	gateway   *process
	worker    *process
	from      int64 // where in the worker's log the fault begins
	seen      map[string]string
}

// setting is what differs from scene to scene.
type setting struct {
	gateway   []string // flags of closeorder simulate
	merchants string   // the merchants file; empty for that of the simulator
	env       []string // of the worker and of all commands
	// lacks is the end of the name of a topic that is not there.
	lacks string
}

// merchantsFile names the merchants of the simulator.
func merchantsFile(directKey string) string {
	return `merchants:
  - {mch_id: "1900000109", appid: wx8888888888888888, key: ` + directKey + `}
  - {mch_id: "1900000110", appid: wx8888888888888888, sign_type: HMAC-SHA256, key: ` + gatewaysim.HMACKey + `}
`
}

// newScene makes the topics and starts gateway and worker. All ends with the test.
func newScene(t *testing.T, kafka *apachekafka.Cluster, id string, set setting) *scene {
	t.Helper()
	s := &scene{t: t, kafka: kafka, id: id, admin: freeAddress(t), seen: make(map[string]string)}
	dir := t.TempDir()
	s.merchants = filepath.Join(dir, "merchants.yaml")
	if set.merchants == "" {
		set.merchants = merchantsFile(gatewaysim.DirectKey)
	}
	if err := os.WriteFile(s.merchants, []byte(set.merchants), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GORACE=atexit_sleep_ms=0"}
	s.gateway = launch(t, env, "the gateway", append([]string{"simulate", "--listen", "127.0.0.1:0", "--quiet"}, set.gateway...)...)
	url := ""
	s.eventually("the gateway's address", func() error {
		url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(s.gateway.written())
		if url == "" {
			return errors.New(s.gateway.written())
		}
		return nil
	})
	s.env = slices.Concat(env, []string{
		"CLOSEORDER_KAFKA_BROKERS=" + kafka.Bootstrap(),
		"CLOSEORDER_KAFKA_GROUP=" + id + ".closeorder",
		"CLOSEORDER_TOPICS_REQUESTS=" + id + ".requests",
		"CLOSEORDER_TOPICS_OUTCOMES=" + id + ".outcomes",
		"CLOSEORDER_TOPICS_DEAD_LETTERS=" + id + ".dead-letters",
		"CLOSEORDER_TOPICS_RETRIES_PREFIX=" + id + ".retries",
		"CLOSEORDER_TOPICS_RETRY_DELAYS=10s,1m",
		"CLOSEORDER_MERCHANTS_FILE=" + s.merchants,
		"CLOSEORDER_GATEWAY_URLS=" + url,
		// A night is long, a test is not.
		"CLOSEORDER_KAFKA_SESSION_TIMEOUT=12s",
		"CLOSEORDER_KAFKA_REBALANCE_TIMEOUT=15s",
		"CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=2s",
		"CLOSEORDER_GATEWAY_BUDGET=4s",
		"CLOSEORDER_SHUTDOWN_GRACE=5s",
		"CLOSEORDER_ADMIN_ADDR=" + s.admin,
	}, set.env)
	s.makeTopics()
	if set.lacks != "" {
		s.deleteTopic(set.lacks)
	}
	s.worker = launch(t, s.env, "the worker", "run")
	at := "/readyz"
	if set.lacks != "" {
		at = "/livez"
	}
	s.eventually("a worker that answers well at "+at, func() error { return s.well(at) })
	return s
}

// makeTopics creates the topics that are not there.
func (s *scene) makeTopics() {
	s.t.Helper()
	s.must("topics", "create", "--partitions", "2")
}

// freeAddress is one where nobody listens at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// well is nil when the worker answers 200 there.
func (s *scene) well(path string) error {
	if got := s.get(path); !strings.HasPrefix(got, "200 ") {
		return errors.New(got)
	}
	return nil
}

// run runs a command to its end and returns its exit code and what it wrote.
func (s *scene) run(args ...string) (code int, out string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.env
	text, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("closeorder %s: %v", strings.Join(args, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// must runs a command that must end well.
func (s *scene) must(args ...string) string {
	s.t.Helper()
	code, out := s.run(args...)
	if code != 0 {
		s.t.Fatalf("closeorder %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// ask publishes a request for each order.
func (s *scene) ask(orders ...string) {
	s.t.Helper()
	for _, order := range orders {
		s.must("request", "--mch-id", "1900000109", "--out-trade-no", order)
	}
}

// answered waits until there is an outcome of an order.
func (s *scene) answered(order, want string) {
	s.t.Helper()
	s.eventually("the outcome of "+order, func() error {
		_, out := s.run("outcomes", "--from", "beginning", "--no-follow", "--out-trade-no", order)
		if !strings.Contains(out, want) {
			return errors.New(out)
		}
		return nil
	})
}

// eventually waits until do returns nil.
func (s *scene) eventually(what string, do func() error) {
	s.t.Helper()
	var err error
	for end := time.Now().Add(waitLimit); time.Now().Before(end); pause(s.t.Context()) {
		if err = do(); err == nil {
			return
		}
	}
	s.t.Fatalf("no %s after %v: %v", what, waitLimit, err)
}

// pause waits a moment, or until ctx ends.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}

// get returns status and body of what the admin address answers.
func (s *scene) get(path string) string {
	code, body, err := fetch(s.t.Context(), "http://"+s.admin+path)
	if err != nil {
		return noAnswer
	}
	return fmt.Sprintf("%d %s", code, body)
}

// noAnswer is what is seen of an admin address that does not answer.
const noAnswer = "no answer\n"

func fetch(ctx context.Context, url string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

var (
	headOfPage = regexp.MustCompile(`(?s)<head>.*?</head>`)
	tags       = regexp.MustCompile(`<[^>]*>`)
	blanks     = regexp.MustCompile(`[ \t]*\n[ \t\n]*`)
)

// shown is what a browser shows of a page, a line for each element.
func shown(page string) string {
	page = tags.ReplaceAllString(headOfPage.ReplaceAllString(page, ""), "\n")
	return blanks.ReplaceAllString(html.UnescapeString(page), "\n")
}

// look returns what is seen at a place of the tables; trace is asked about order.
func (s *scene) look(place, order string) string {
	var got string
	switch place {
	case "`/livez`", "`/readyz`":
		got = s.get(strings.Trim(place, "`") + "?verbose")
	case "`/statusz`":
		got = shown(s.get("/statusz"))
	case "`/metrics`":
		got = s.get("/metrics")
	case "first line of the log":
		got = s.worker.trouble(s.from)
	case "`doctor`":
		got = s.command("doctor", "--probe")
	case "`trace`":
		got = s.command("trace", order)
	}
	// As in the runbook, where the topics have the names that they have by default.
	return strings.ReplaceAll(got, s.id+".closeorder", "closeorder") // the group
}

func (s *scene) command(args ...string) string {
	code, out := s.run(args...)
	return fmt.Sprintf("exit code %d\n%s", code, out)
}

// compare looks at every place until it shows what the runbook says.
func (s *scene) compare(drill, order string) {
	s.t.Helper()
	tables, err := drillTables()
	if err != nil {
		s.t.Fatal(err)
	}
	rows := tables[drill]
	if len(rows) == 0 {
		s.t.Errorf("%s has no table for %q", runbook, drill)
	}
	var looking sync.WaitGroup
	var mu sync.Mutex
	for _, r := range rows {
		looking.Go(func() {
			seen, missing := "", []string(nil)
			for at := &r; at != nil && len(missing) == 0; at = at.then {
				for end := time.Now().Add(waitLimit); time.Now().Before(end); pause(s.t.Context()) {
					seen = strings.ReplaceAll(s.look(r.place, order), s.id+".", "closeorder.")
					if missing = at.missing(seen); len(missing) == 0 {
						break
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			s.seen[r.place] = seen
			if len(missing) > 0 {
				s.t.Errorf("%s, line %d, %s: %q not found in\n%s", runbook, r.line, r.place, missing, seen)
			}
		})
	}
	looking.Wait()
	s.keep(drill)
}

// keep writes down what was seen, for who writes the runbook.
func (s *scene) keep(drill string) {
	dir := os.Getenv("CLOSEORDER_DRILLS_SEEN")
	if dir == "" {
		return
	}
	var b strings.Builder
	for _, place := range places {
		fmt.Fprintf(&b, "===== %s\n%s\n", place, s.seen[place])
	}
	fmt.Fprintf(&b, "===== whole log\n%s\n", s.worker.written())
	name := filepath.Join(dir, strings.ReplaceAll(drill, " ", "-")+".txt")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(name, []byte(b.String()), 0o644)); err != nil {
		s.t.Error(err)
	}
}

// probe asks for /livez as an orchestrator does, until stop is called, which
// reports when it would have killed the worker: after an answer that is not 200,
// or as many calls in a row without any as a kubelet allows.
func (s *scene) probe() (stop func()) {
	const most = 3
	ctx, cancel := context.WithCancel(s.t.Context())
	var probing sync.WaitGroup
	asked, silent, wrong := 0, 0, ""
	probing.Go(func() {
		for ; ctx.Err() == nil && wrong == ""; pause(ctx) {
			code, body, err := fetch(ctx, "http://"+s.admin+"/livez")
			switch {
			case ctx.Err() != nil:
			case err != nil:
				if silent++; silent == most {
					wrong = err.Error()
				}
			case code != http.StatusOK:
				wrong = fmt.Sprintf("%d %s", code, body)
			default:
				asked++
				silent = 0
			}
		}
	})
	return func() {
		s.t.Helper()
		cancel()
		probing.Wait()
		if wrong != "" {
			s.t.Errorf("a liveness probe would have restarted the worker: %s", wrong)
		} else if asked == 0 {
			s.t.Error("nobody has asked whether the worker lives")
		}
	}
}
