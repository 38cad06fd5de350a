package chart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/broker"
	"github.com/closeorder/closeorder/internal/gatewaysim"
	apps "k8s.io/api/apps/v1"
)

// cluster is what a pod works with: a broker, a gateway, and commands to see it.
type cluster struct {
	t       *testing.T
	brokers string
	gateway string
	port    int // of the pods

	mu     sync.Mutex
	closes map[string]int // calls of closeorder by out_trade_no
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, closes: map[string]int{}}
	b, err := broker.Start(broker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	c.brokers = b.Addr()
	sim, err := gatewaysim.New(gatewaysim.Config{
		Latency: gatewaysim.Latency{Min: time.Second},
		Observe: func(call gatewaysim.Call) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if call.Op == gatewaysim.CloseOrder {
				c.closes[call.OutTradeNo]++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.gateway = "http://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		<-served
	})
	free, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	c.port = free.Addr().(*net.TCPAddr).Port
	free.Close()
	return c
}

// values are those of a release that works with this cluster.
func (c *cluster) values(mode string) map[string]any {
	return values(c.t, fmt.Sprintf(`
mode: %s
port: %d
config:
  kafka: {brokers: [%q], session_timeout: 12s, rebalance_timeout: 15s}
  gateway: {urls: [%q], attempt_timeout: 4s, budget: 8s}
  max_in_flight: 16
  shutdown_grace: 8s
  merchants_file: {secretKeyRef: {name: closeorder-merchants, key: merchants.yaml}}
`, mode, c.port, c.brokers, c.gateway))
}

// command runs a command of closeorder outside of the pod.
func (c *cluster) command(args ...string) (string, error) {
	c.t.Helper()
	binary, err := program()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{"CLOSEORDER_KAFKA_BROKERS=" + c.brokers}
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("closeorder %s: %w\n%s%s", strings.Join(args, " "), err, out, exit.Stderr)
	}
	return string(out), err
}

// ask publishes n requests of a merchant.
func (c *cluster) ask(mchID, prefix string, n int) {
	c.t.Helper()
	orders := "out_trade_no\n"
	for i := range n {
		orders += prefix + strconv.Itoa(i) + "\n"
	}
	file := filepath.Join(c.t.TempDir(), "orders.csv")
	if err := os.WriteFile(file, []byte(orders), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.command("request", "--mch-id", mchID, "--file", file); err != nil {
		c.t.Fatal(err)
	}
}

// outcomes counts the outcomes by out_trade_no and checks that all say closed.
func (c *cluster) outcomes() map[string]int {
	c.t.Helper()
	out, err := c.command("outcomes", "--from", "beginning", "--no-follow", "--json")
	if err != nil {
		c.t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(out) {
		var one struct {
			Outcome    string `json:"outcome"`
			OutTradeNo string `json:"out_trade_no"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			c.t.Fatalf("%v: %s", err, line)
		}
		if one.Outcome != "closed" {
			c.t.Errorf("not closed: %s", line)
		}
		counts[one.OutTradeNo]++
	}
	return counts
}

// until waits until there are n answered orders.
func (c *cluster) until(n int) {
	c.t.Helper()
	got := 0
	eventually(c.t, 40*time.Second, func() bool { got = len(c.outcomes()); return got >= n }, func() string {
		return fmt.Sprintf("%d of %d orders are answered", got, n)
	})
}

func eventually(t *testing.T, within time.Duration, is func() bool, but func() string) {
	t.Helper()
	for end := time.Now().Add(within); !is(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, but())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// start renders, materialises and starts a pod.
func (c *cluster) start(objects []Object, have outside, name string) (pod, *made, *kubelet) {
	c.t.Helper()
	p := podOf(c.t, objects)
	if name != "" {
		p.name = name
	}
	dir := c.t.TempDir()
	m := materialise(c.t, p, objects, have, dir)
	process := startContainer(c.t, p, m, filepath.Join(dir, "log"))
	return p, m, watch(c.t, p, process)
}

// The way of a pod: it starts as its spec says, as nobody in a folder that it
// cannot write to; it is ready when the kubelet finds it so; it reads a Secret
// that has changed; stopped with calls in flight it ends within its grace; the
// next one does the rest, and nothing is done twice.
func TestTheRenderedPodRuns(t *testing.T) {
	needsContainers(t)
	for _, mode := range []string{"Deployment", "StatefulSet"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			objects, _, err := Render(loaded(t), c.values(mode))
			if err != nil {
				t.Fatal(err)
			}
			have := secrets(t)
			p, m, k := c.start(objects, have, "")
			k.waitReady(40 * time.Second)
			k.process.is(t)
			if mode == "StatefulSet" && !slices.Contains(m.env, "CLOSEORDER_KAFKA_INSTANCE_ID="+p.name) {
				t.Errorf("the static id is not the name of the pod: %q", m.env)
			}

			c.ask("1900000109", "A", 10)
			c.until(10)

			// A merchant more: its Secret is put in the place of the other at one stroke.
			m.volumes[volumeOf(t, p, "closeorder-merchants")].write(t, merchantsSecret("1900000109", "1900000110"))
			// Sooner than the worker looks by itself, every 15 s: it was told.
			eventually(t, 8*time.Second, func() bool { return strings.Contains(k.process.written(), "merchants file read again") }, k.process.written)
			c.ask("1900000110", "B", 10)
			c.until(20)

			// More than go at one time, each for a second: some are in flight, some wait.
			c.ask("1900000109", "C", 60)
			eventually(t, 20*time.Second, func() bool { return c.inFlight() >= 8 }, func() string { return fmt.Sprintf("%v in flight", c.inFlight()) })
			peak := k.process.peak(t)
			took := k.terminate()
			if k.killed || k.end != nil {
				t.Fatalf("it ended with %v, killed: %v, after %v:\n%s", k.end, k.killed, took, k.process.written())
			}
			if len(k.restarts) > 0 || k.asked["startup"] == 0 || k.asked["readiness"] == 0 || k.asked["liveness"] == 0 {
				t.Errorf("probes: asked %v, would have restarted it for %q", k.asked, k.restarts)
			}
			left := c.outcomes()
			if len(left) >= 80 {
				t.Error("nothing was left to do when it was stopped")
			}
			if limit := memoryLimit(p); peak > limit {
				t.Errorf("it had %d bytes of memory, and its limit is %d", peak, limit)
			}
			t.Logf("ended %v after SIGTERM, of at most %d s, with %d of 80 answered; at most %d MiB of memory", took.Round(time.Millisecond), *p.spec.TerminationGracePeriodSeconds, len(left), peak>>20)

			name := p.name // the controller of a StatefulSet gives the next one its name
			if mode == "Deployment" {
				name = "closeorder-6d5f7b9c4-zz9pq"
			}
			have.secrets["closeorder-merchants"] = merchantsSecret("1900000109", "1900000110")
			_, _, next := c.start(objects, have, name)
			next.waitReady(40 * time.Second)
			c.until(80)
			next.terminate()
			if next.killed || next.end != nil || len(next.restarts) > 0 {
				t.Errorf("the next one ended with %v, killed: %v, restarts %q", next.end, next.killed, next.restarts)
			}
			c.nothingTwice(80)
		})
	}
}

// nothingTwice holds the topics and the gateway's calls against what was asked.
func (c *cluster) nothingTwice(n int) {
	c.t.Helper()
	for order, times := range c.outcomes() {
		if times != 1 {
			c.t.Errorf("%s has %d outcomes", order, times)
		}
	}
	c.mu.Lock()
	for order, times := range c.closes {
		if times != 1 {
			c.t.Errorf("%s was closed %d times at the gateway", order, times)
		}
	}
	if len(c.closes) != n {
		c.t.Errorf("%d orders were closed at the gateway, want %d", len(c.closes), n)
	}
	c.mu.Unlock()
	out, err := c.command("audit", "--json")
	if err != nil {
		c.t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		c.t.Fatal(err)
	}
	for name, want := range map[string]any{"balanced": true, "requests": float64(n), "closed": float64(n), "duplicates": 0.0, "in_flight": 0.0, "waiting": 0.0} {
		if report[name] != want {
			c.t.Errorf("audit: %s is %v, want %v\n%s", name, report[name], want, out)
		}
	}
}

// inFlight is the worker's own count of its calls.
func (c *cluster) inFlight() int {
	text, err := get(c.t.Context(), fmt.Sprintf("http://127.0.0.1:%d/metrics", c.port))
	if err != nil {
		return -1
	}
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(line, "closeorder_in_flight "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(after), 64)
			return int(n)
		}
	}
	return -1
}

// volumeOf is the name of the volume of a Secret.
func volumeOf(t *testing.T, p pod, secret string) string {
	t.Helper()
	for _, v := range p.spec.Volumes {
		if v.Secret != nil && v.Secret.SecretName == secret {
			return v.Name
		}
	}
	t.Fatalf("no volume of Secret %s", secret)
	return ""
}

// A container that hangs is stopped by the kubelet, and killed when its grace is
// over: what the test above sees not happen can happen.
func TestAContainerThatHangsIsKilled(t *testing.T) {
	needsContainers(t)
	c := newCluster(t)
	objects, _, err := Render(loaded(t), c.values("Deployment"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := Find[apps.Deployment](objects, "")
	if err != nil {
		t.Fatal(err)
	}
	spec := &d.Spec.Template.Spec
	// The same, six times as fast.
	for _, p := range []*int32{&spec.Containers[0].LivenessProbe.PeriodSeconds, &spec.Containers[0].LivenessProbe.TimeoutSeconds} {
		*p = max(*p/6, 1)
	}
	*spec.TerminationGracePeriodSeconds = 1
	_, _, k := c.start(objects, secrets(t), "")
	k.waitReady(40 * time.Second)
	if err := k.process.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.restarts) > 0
	}, func() string { return "the liveness probe has not failed" })
	k.probing.Wait()
	if !k.killed || k.end == nil {
		t.Errorf("killed: %v, ended with %v", k.killed, k.end)
	}
}

func memoryLimit(p pod) int64 {
	limits := p.worker().Resources.Limits
	return limits.Memory().Value()
}
