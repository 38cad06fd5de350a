package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/closeorder/closeorder/internal/admin"
)

// ask gets what an admin listener says.
func ask(t *testing.T, url string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// A worker can be looked at from its first line on until it has drained.
func TestAWorkerCanBeLookedAt(t *testing.T) {
	_, _, dev := world(t)
	url := dev.stdout.find(t, `Worker +(http://127\.0\.0\.1:\d+)/statusz`)[1]
	deadline := time.Now().Add(time.Minute)
	for {
		code, body := ask(t, url+"/readyz")
		if code == http.StatusOK && body == "ok\n" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not ready: %d %s", code, body)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if code, body := ask(t, url+"/livez"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez is %d %s", code, body)
	}
	_, body := ask(t, url+"/statusz?format=json")
	var is admin.Status
	if err := json.Unmarshal([]byte(body), &is); err != nil || is.State.Group != "closeorder" || !is.State.Member.Joined {
		t.Errorf("/statusz is %v %s", err, body)
	}
	if _, body := ask(t, url+"/statusz"); !strings.Contains(body, "closeorder.requests") {
		t.Errorf("the page is %s", body)
	}
	if code := dev.end(t); code != exitDone {
		t.Errorf("exit code %d, %s", code, dev.stderr)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Error("it is served after the end")
	}
}

func TestAnAdminAddressThatIsTakenEndsTheStart(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	env := []string{"CLOSEORDER_MCH_ID=42", "CLOSEORDER_APPID=wx42", "CLOSEORDER_API_KEY=" + secretKey, "CLOSEORDER_KAFKA_BROKERS=127.0.0.1:1"}
	code, _, stderr := call(t, env, "", "run", "--admin-addr", ln.Addr().String())
	if code != exitUsage || !strings.Contains(stderr, "admin_addr "+ln.Addr().String()+": nobody can listen there") || !strings.Contains(stderr, "off to serve nothing") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// Who listens on all addresses is found on this machine all the same.
func TestWhatIsPrintedOfTheAdminAddressLeadsThere(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "127.0.0.1:0"} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		if got := (&adminListener{ln: ln}).url(); got != "http://127.0.0.1:"+port {
			t.Errorf("listening on %s: %s", ln.Addr(), got)
		}
	}
}
