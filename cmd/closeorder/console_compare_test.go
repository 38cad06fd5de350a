package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// browser asks a console as a program does.
type browser struct {
	t   *testing.T
	url string
}

// document is what stands beside a page as JSON.
type document = map[string]any

func (b browser) get(path string) (d document) {
	b.t.Helper()
	answer, err := http.Get(b.url + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		b.t.Fatalf("%s: %s, %v: %s", path, answer.Status, err, body)
	}
	if err := json.Unmarshal(body, &d); err != nil {
		b.t.Fatalf("%s: %v: %s", path, err, body)
	}
	return d
}

// become waits until a document is as it should be.
func (b browser) become(path string, is func(document) bool) document {
	b.t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		d := b.get(path)
		if is(d) {
			return d
		}
		if time.Now().After(limit) {
			text, _ := json.MarshalIndent(d, "", "  ")
			b.t.Fatalf("%s has not become what was waited for: %s", path, text)
		}
	}
}

// post sends a form and returns where it leads.
func (b browser) post(path string, form url.Values) string {
	b.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.PostForm(b.url+path, form)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("%s: %s: %s", path, answer.Status, body)
	}
	return answer.Header.Get("Location")
}

// documents are the JSON documents that a command prints.
func documents(t *testing.T, env []string, args ...string) (all []document) {
	t.Helper()
	_, stdout, stderr := call(t, env, "", args...)
	for dec := json.NewDecoder(strings.NewReader(stdout)); dec.More(); {
		var d document
		if err := dec.Decode(&d); err != nil {
			t.Fatalf("%q: %v: %s %s", args, err, stdout, stderr)
		}
		all = append(all, d)
	}
	return all
}

// spans are those that change while one looks: until when, since when.
var spans = regexp.MustCompile(`\([0-9][^()]* (from now|ago)\)|for [0-9.]+ (ms|s|min|h)( [0-9]+ (s|min))?:`)

// same holds a page to a command, but for the members that may differ.
func same(t *testing.T, what string, page, command any, but ...string) {
	t.Helper()
	text := func(v any) string {
		if d, ok := v.(document); ok {
			d = maps.Clone(d)
			for _, name := range but {
				delete(d, name)
			}
			v = d
		}
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return spans.ReplaceAllString(string(b), "(<span> $1)")
	}
	if is, want := text(page), text(command); is != want {
		t.Errorf("%s\nthe page says\n%s\nthe command says\n%s", what, is, want)
	}
}

// letters are the dead letters of a page as the command lists them: the oldest
// first, and without what the index knows besides.
func letters(page document) []document {
	found := []document{}
	for _, l := range page["dead_letters"].([]any) {
		one := maps.Clone(l.(document))
		delete(one, "since")
		delete(one, "since_replay")
		found = append(found, one)
	}
	return found
}

func byPlace(all []document) []document {
	slices.SortFunc(all, func(a, b document) int {
		key := func(d document) string { return fmt.Sprintf("%09v:%09v", d["partition"], d["offset"]) }
		return strings.Compare(key(a), key(b))
	})
	return all
}

// TestPagesSayWhatTheCommandsSay has a worker answer requests of every kind, replays
// some of the failed ones from the console's page, and then holds what the pages say
// to what trace, deadletters and audit say of the same topics.
func TestPagesSayWhatTheCommandsSay(t *testing.T) {
	_, env := shop(t)
	env = append(env, "CLOSEORDER_TOPICS_RETRY_DELAYS=1h", "CLOSEORDER_GATEWAY_BUDGET=1s", "CLOSEORDER_GATEWAY_ATTEMPT_TIMEOUT=1s")
	if code, _, stderr := call(t, env, "", "topics", "create", "--replication", "1", "--min-insync-replicas", "1"); code != exitDone {
		t.Fatalf("topics create: exit code %d, %s", code, stderr)
	}
	worker := launch(t, env, "", "run")
	input := "mch_id,out_trade_no\n" + lines("T", 6) + lines("PAID", 2) + lines("DEAD", 2) + lines("REFUSED", 3) + lines("UNKNOWN", 1) + "1900000999,X0\n1900000999,T0\n"
	if code, _, stderr := call(t, env, input, "request", "--wait", "--file", "-"); code != exitBad {
		t.Fatalf("request: exit code %d, %s", code, stderr)
	}
	call(t, env, "mch_id,out_trade_no\n"+lines("SYSERR", 1), "request", "--file", "-")
	pages := launch(t, env, "", "console", "--addr", "127.0.0.1:0")
	b := browser{t, pages.stdout.find(t, `Console +(http://\S+)`)[1]}

	b.become("/dead-letters.json", func(d document) bool { return d["total"] == 7.0 })
	b.become("/order.json?out_trade_no=SYSERR0", func(d document) bool {
		return fmt.Sprint(d["found_by"]) == "index" && d["orders"].([]any)[0].(document)["state"] == "waiting"
	})
	replay := strings.Replace(b.post("/replays", url.Values{"what": {"all"}, "code": {"PARAM_ERROR"}, "out_trade_no": {""}}), "?", ".json?", 1)
	id := b.become(replay, func(d document) bool { return d["state"] == "planned" })["replay_id"].(string)
	b.post("/replay/start", url.Values{"id": {id}, "reason": {"OPS-17"}, "rate": {"1000"}, "pause_after": {"0"}})
	b.become(replay, func(d document) bool {
		became := d["became"].(document)
		return d["state"] == "done" && d["sent"] == 5.0 && became["closed"] == 3.0 && became["failed"] == 2.0
	})
	b.become("/dead-letters.json", func(d document) bool { return d["total"] == 9.0 })

	t.Run("an order, as trace has it", func(t *testing.T) {
		for _, order := range []struct{ number, mchID string }{
			{"T0", ""}, {"T0", "1900000109"}, {"T1", ""}, {"PAID1", ""}, {"DEAD0", ""}, {"REFUSED0", ""}, {"UNKNOWN0", ""}, {"X0", ""}, {"SYSERR0", ""}, {"NEVER", ""},
		} {
			args := []string{"trace", order.number, "--json"}
			if order.mchID != "" {
				args = append(args, "--mch-id", order.mchID)
			}
			page := browser{t, b.url}.get("/order.json?" + url.Values{"out_trade_no": {order.number}, "mch_id": {order.mchID}}.Encode())
			// What was read to know it differs, and from when on.
			same(t, order.number, page, documents(t, env, args...)[0], "as_of", "read", "all", "found_by", "replays_here")
		}
	})
	t.Run("dead letters, as deadletters list and show have them", func(t *testing.T) {
		b := browser{t, b.url}
		since := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
		for query, flags := range map[string][]string{
			"":                                    nil,
			"code=param_error":                    {"--code", "param_error"},
			"code=PARAM_ERROR,X&mch_id=1":         {"--code", "PARAM_ERROR,X", "--mch-id", "1"},
			"mch_id=1900000999":                   {"--mch-id", "1900000999"},
			"out_trade_no=REFUSED1":               {"--out-trade-no", "REFUSED1"},
			"open=1":                              {"--open"},
			"open=1&code=PARAM_ERROR&since=24h":   {"--open", "--code", "PARAM_ERROR", "--since", "24h"},
			"until=" + since:                      {"--until", since},
			"since=" + since + "&by=merchant":     {"--since", since},
			"by=code_and_merchant&since=1h&page=": {"--since", "1h"},
		} {
			page := b.get("/dead-letters.json?" + query)
			lines := documents(t, env, append([]string{"deadletters", "list", "--json", "--limit", "0"}, flags...)...)
			if lines == nil {
				lines = []document{}
			}
			same(t, query, byPlace(letters(page)), byPlace(lines))
			total := 0.0
			for _, g := range page["groups"].([]any) {
				total += g.(document)["count"].(float64)
			}
			if int(total) != len(lines) || page["total"] != total {
				t.Errorf("%s: groups of %v, a total of %v, and %d lines", query, total, page["total"], len(lines))
			}
		}
		for _, l := range letters(b.get("/dead-letters.json")) {
			at := fmt.Sprintf("%v:%v", l["partition"], l["offset"])
			same(t, at, b.get("/dead-letter.json?at="+at), documents(t, env, "deadletters", "show", at, "--json")[0], "topic", "remedy", "since", "since_replay")
		}
	})
	t.Run("a plan, as deadletters replay has it", func(t *testing.T) {
		b := browser{t, b.url}
		path := strings.Replace(b.post("/replays", url.Values{"what": {"all"}}), "?", ".json?", 1)
		page := b.become(path, func(d document) bool { return d["state"] == "planned" })
		lines := documents(t, env, "deadletters", "replay", "--json")
		summary := lines[len(lines)-1]["summary"].(document)
		steps := []document{}
		for _, s := range page["steps"].([]any) {
			steps = append(steps, s.(document))
		}
		same(t, "steps", byPlace(steps), byPlace(lines[:len(lines)-1]))
		same(t, "what is skipped", page["skipped"], summary["skipped"])
		same(t, "how many", page["chosen"], summary["would_replay"])
	})
	t.Run("an audit, as audit has it", func(t *testing.T) {
		b := browser{t, b.url}
		for since, flags := range map[string][]string{"all": nil, "24h": {"--since", "24h"}} {
			path := strings.Replace(b.post("/audits", url.Values{"since": {since}}), "?", ".json?", 1)
			page := b.become(path, func(d document) bool { return d["report"] != nil })["report"]
			same(t, since, page, documents(t, env, append([]string{"audit", "--json"}, flags...)...)[0], "as_of", "since")
			if r := page.(document); r["balanced"] != true || r["requests"] != 22.0 || r["waiting"] != 1.0 {
				t.Errorf("%v", r)
			}
		}
	})
	for what, p := range map[string]*process{"run": worker, "console": pages} {
		if code := p.end(t); code != exitDone {
			t.Errorf("%s: exit code %d: %s", what, code, p.stderr)
		}
	}
	if said := pages.stderr.String(); bytes.Contains([]byte(said), []byte("level=warning")) || strings.Contains(said, "level=error") {
		t.Errorf("the console says %s", said)
	}
}
