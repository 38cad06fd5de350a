package gatewaysim

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/closeorder/closeorder/internal/golden"
)

// Every file in requests is one body for closeorder, its name the sentence
// that it stands for; replies.txt has what each is answered. The signatures
// in the files were made by another program.
func TestRequestsAreCheckedAsTheRealGatewayDoes(t *testing.T) {
	files, err := filepath.Glob(testdata + "requests/*.xml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no requests")
	}
	var out strings.Builder
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := newSimulator(t, Config{Seed: 1})
		reply := httptest.NewRecorder()
		s.ServeHTTP(reply, httptest.NewRequest(http.MethodPost, "/pay/closeorder", strings.NewReader(string(body))))
		fmt.Fprintf(&out, "# %s\n%d %s\n%s\n\n", strings.TrimSuffix(filepath.Base(file), ".xml"), reply.Code, reply.Header().Get("Content-Type"), reply.Body)
	}
	golden.Check(t, testdata+"replies.txt", out.String())
}

func TestOnlyPostIsServed(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	resp, err := c.http.Get(c.base + "/pay/closeorder")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := readAll(t, resp); !strings.Contains(body, msgMethod) || resp.StatusCode != http.StatusOK {
		t.Errorf("GET: %d %s", resp.StatusCode, body)
	}
}

func TestOtherPathsAreNotFound(t *testing.T) {
	reply := httptest.NewRecorder()
	newSimulator(t, Config{}).ServeHTTP(reply, httptest.NewRequest(http.MethodPost, "/pay/refund", nil))
	if reply.Code != http.StatusNotFound {
		t.Errorf("status %d", reply.Code)
	}
}

func TestACreateNeedsAnAmount(t *testing.T) {
	c := serveTCP(t, newSimulator(t, Config{}))
	changes := []string{"body", "tea", "spbill_create_ip", "127.0.0.1", "notify_url", "https://shop.example/paid", "trade_type", "NATIVE"}
	for fee, want := range map[string]string{
		"":           "nothing: unsigned FAIL, " + msgLack,
		"0":          "PARAM_ERROR",
		"1.5":        "PARAM_ERROR",
		"-1":         "PARAM_ERROR",
		"1234567890": "PARAM_ERROR",
		"101":        "SUCCESS",
	} {
		if got := c.call(UnifiedOrder, c.fields("T1", append(changes, "total_fee", fee)...)); got != want {
			t.Errorf("total_fee %q: %s, want %s", fee, got, want)
		}
	}
}

func FuzzParseFields(f *testing.F) {
	files, err := filepath.Glob(testdata + "requests/*.xml")
	if err != nil || len(files) == 0 {
		f.Fatal("no requests: ", err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if len(body) < 1<<10 {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		fields, err := parseFields(body)
		if err != nil {
			if fields != nil {
				t.Error("fields beside an error")
			}
			return
		}
		// What was read can be written and read again.
		for name, value := range fields {
			if strings.ContainsAny(name, ": \t\r\n<>&") || strings.Contains(value, "\r") {
				return // encoding/xml takes a few names and line ends that we do not write
			}
		}
		again, err := parseFields(document(fields))
		if err != nil {
			t.Fatalf("%q reads as %q, which cannot be read again: %v", body, fields, err)
		}
		for name, value := range fields {
			if again[name] != value {
				t.Errorf("%s: %q, read again %q", name, value, again[name])
			}
		}
	})
}
