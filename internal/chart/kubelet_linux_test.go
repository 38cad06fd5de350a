package chart

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// kubelet does to a container what the kubelet does: it probes it as its pod says,
// and stops it when a liveness probe fails, or when it is asked to.
type kubelet struct {
	t       *testing.T
	process *process
	spec    core.PodSpec

	cancel  context.CancelFunc
	probing sync.WaitGroup
	stopped sync.Once
	end     error // what the container ended with
	killed  bool  // after its grace

	mu       sync.Mutex
	ready    chan struct{} // closed when readiness was seen
	isReady  bool
	asked    map[string]int
	restarts []string // why
}

func watch(t *testing.T, p pod, of *process) *kubelet {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	k := &kubelet{t: t, process: of, spec: p.spec, cancel: cancel, ready: make(chan struct{}), asked: map[string]int{}}
	c := p.worker()
	k.probing.Go(func() {
		// Nothing else is asked before the startup probe has succeeded.
		if !k.probe(ctx, "startup", c, c.StartupProbe, true) {
			return
		}
		k.probing.Go(func() { k.probe(ctx, "readiness", c, c.ReadinessProbe, false) })
		k.probe(ctx, "liveness", c, c.LivenessProbe, false)
	})
	t.Cleanup(func() {
		k.cancel()
		k.probing.Wait()
	})
	return k
}

// probe asks as the probe says until ctx ends, or with once until it succeeds. It
// reports false when the container was stopped for it.
func (k *kubelet) probe(ctx context.Context, kind string, c core.Container, p *core.Probe, once bool) bool {
	if p == nil || p.HTTPGet == nil {
		k.t.Errorf("the pod has no %s probe by HTTP", kind)
		return false
	}
	url := "http://127.0.0.1:" + portOf(k.t, c, p) + p.HTTPGet.Path
	// The defaults of the API.
	period, timeout, limit := orDefault(p.PeriodSeconds, 10), orDefault(p.TimeoutSeconds, 1), int(orDefault(p.FailureThreshold, 3))
	failures := 0
	for ticker := time.NewTicker(time.Duration(period) * time.Second); ; {
		err := k.ask(ctx, url, time.Duration(timeout)*time.Second)
		if ctx.Err() != nil {
			ticker.Stop()
			return false
		}
		k.mu.Lock()
		k.asked[kind]++
		if kind == "readiness" {
			if err == nil && !k.isReady {
				k.isReady = true
				select {
				case <-k.ready:
				default:
					close(k.ready)
				}
			} else if err != nil && failures+1 >= limit {
				k.isReady = false
			}
		}
		k.mu.Unlock()
		if err == nil {
			failures = 0
			if once {
				ticker.Stop()
				return true
			}
		} else if failures++; failures >= limit && kind != "readiness" {
			k.mu.Lock()
			k.restarts = append(k.restarts, fmt.Sprintf("%s: %v", kind, err))
			k.mu.Unlock()
			ticker.Stop()
			k.terminate()
			return false
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

func orDefault(n, otherwise int32) int32 {
	if n == 0 {
		return otherwise
	}
	return n
}

// portOf is the number of the port that a probe names.
func portOf(t *testing.T, c core.Container, p *core.Probe) string {
	for _, port := range c.Ports {
		if port.Name == p.HTTPGet.Port.StrVal {
			return strconv.Itoa(int(port.ContainerPort))
		}
	}
	t.Errorf("a probe names the port %q, which is not there", p.HTTPGet.Port.StrVal)
	return "0"
}

// ask is one probe: any status from 200 to 399 is well.
func (k *kubelet) ask(ctx context.Context, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := get(ctx, url)
	return err
}

// get asks anew, on a connection of its own as the kubelet does.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Close = true
	req.Header.Set("User-Agent", "kube-probe/1.37")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return "", fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// terminate stops the container: SIGTERM, and SIGKILL when its grace is over.
// It returns how long that took.
func (k *kubelet) terminate() time.Duration {
	began := time.Now()
	k.stopped.Do(func() {
		k.cancel()
		grace := time.Duration(*k.spec.TerminationGracePeriodSeconds) * time.Second
		_ = k.process.cmd.Process.Signal(syscall.SIGTERM) // an error: it has ended
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case k.end = <-k.process.ended:
		case <-timer.C:
			k.killed = true
			_ = k.process.cmd.Process.Kill()
			k.end = <-k.process.ended
		}
	})
	return time.Since(began)
}

// waitReady waits until the readiness probe succeeds.
func (k *kubelet) waitReady(within time.Duration) {
	k.t.Helper()
	select {
	case <-k.ready:
	case err := <-k.process.ended:
		k.t.Fatalf("the container ended before it was ready: %v\n%s", err, k.process.written())
	case <-time.After(within):
		k.t.Fatalf("not ready within %v:\n%s", within, k.process.written())
	}
}
