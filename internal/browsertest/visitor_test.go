package browsertest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// likes is how somebody has set up a browser.
type likes struct {
	language string // Accept-Language; en without one
	dark     bool
	noScript bool
	width    int64 // of the window; 1280 without one
}

// visitor is somebody with a browser of his own: cookies, one tab. What goes wrong
// in it fails the test: messages on the console, violations of the page's policy,
// issues as the browser's own tools list them, answers with an error that nobody
// expects, and any request to another host than the console's.
type visitor struct {
	t    *testing.T
	ctx  context.Context
	base string // URL of the console
	is   likes

	mu       sync.Mutex
	trouble  []string
	expected []string          // path with its status, such as "/replays 400"
	of       map[string]string // paths by request id
	requests []string          // paths asked for, in their order
	here     string            // path of the last page
	away     bool              // that nobody answers is no trouble
}

// visits opens a browser context on the console at base. What goes wrong in it until
// the end fails the test.
func (b *aBrowser) visits(t *testing.T, base string, is likes) *visitor {
	t.Helper()
	v := b.opens(t, base, is)
	t.Cleanup(func() {
		for _, each := range v.troubles() {
			t.Errorf("the browser says: %s", each)
		}
	})
	return v
}

// troubles are what has gone wrong so far.
func (v *visitor) troubles() []string {
	v.t.Helper()
	evaluates[bool](v, `true`) // what was told before its answer has been heard
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.trouble)
}

// opens is visits, and nobody looks at what goes wrong.
func (b *aBrowser) opens(t *testing.T, base string, is likes) *visitor {
	t.Helper()
	is.language = cmp.Or(is.language, "en")
	is.width = cmp.Or(is.width, 1280)
	ctx, leave := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	v := &visitor{t: t, base: base, is: is, of: map[string]string{}}
	t.Cleanup(leave)
	// The first action opens the tab, which lives as long as its context.
	v.ctx = ctx
	v.must(chromedp.Listen(ctx, v.hear))
	limited, stop := context.WithTimeout(ctx, 10*patience)
	t.Cleanup(stop)
	v.ctx = limited
	v.call("network", func() error { return call(v.ctx, network.Enable, network.EnableParams{}) })
	v.call("log", func() error { return call(v.ctx, log.Enable, cdp.Empty{}) })
	v.call("audits", func() error { return call(v.ctx, audits.Enable, cdp.Empty{}) })
	v.call("language", func() error {
		return call(v.ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: b.agent, AcceptLanguage: is.language})
	})
	v.likesDark(is.dark)
	v.widens(is.width)
	if is.noScript {
		v.call("scripts", func() error {
			return call(v.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		})
	}
	return v
}

// call sends a command whose answer says nothing.
func call[P, R any](ctx context.Context, c cdp.Command[P, R], p P) error {
	_, err := chromedp.Call(ctx, c, p)
	return err
}

func (v *visitor) call(what string, do func() error) {
	v.t.Helper()
	if err := do(); err != nil {
		v.t.Fatalf("%s: %v", what, err)
	}
}

func (v *visitor) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// likesDark has pages dark or light from now on.
func (v *visitor) likesDark(dark bool) {
	v.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	v.is.dark = dark
	v.must(call(v.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	}))
}

// widens makes the window so wide, in CSS pixels.
func (v *visitor) widens(width int64) {
	v.t.Helper()
	v.is.width = width
	v.must(call(v.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width < 600,
	}))
}

// expects says that an answer with an error is no trouble: of this path, with this status.
func (v *visitor) expects(path string, status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expected = append(v.expected, fmt.Sprintf("%s %d", path, status))
}

// losesTheConsole says whether it is no trouble that nobody answers.
func (v *visitor) losesTheConsole(away bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away = away
}

// hear notes what the browser tells. It runs in the loop that reads from it.
func (v *visitor) hear(event any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	wrong := func(format string, args ...any) {
		if text := fmt.Sprintf("at %s: ", v.here) + fmt.Sprintf(format, args...); !slices.Contains(v.trouble, text) {
			v.trouble = append(v.trouble, text)
		}
	}
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		path, ok := strings.CutPrefix(e.Request.URL, v.base)
		if e.Type == network.ResourceTypeDocument {
			v.here = path
		}
		if !ok {
			wrong("a request that is none of the console's: %s", e.Request.URL)
		}
		v.of[string(e.RequestID)] = path
		v.requests = append(v.requests, e.Request.Method+" "+path)
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 && !v.isExpected(e.Response.URL, int(e.Response.Status)) {
			wrong("%s answers %d", e.Response.URL, int(e.Response.Status))
		}
	case *network.EventLoadingFailed:
		// Who goes to another page stops following the one before.
		if !e.Canceled && !v.away {
			wrong("%s fails: %s %s", v.of[string(e.RequestID)], e.ErrorText, e.BlockedReason)
		}
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceNetwork && (v.away || v.anyExpected(e.Entry.URL)) {
			return // the same as the answer
		}
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			wrong("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		var said []string
		for _, arg := range e.Args {
			said = append(said, cmp.Or(arg.Description, string(arg.Value)))
		}
		wrong("console.%s: %s", e.Type, strings.Join(said, " "))
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		wrong("exception: %s", text)
	case *audits.EventIssueAdded:
		details, _ := json.Marshal(e.Issue.Details)
		wrong("issue %s: %s", e.Issue.Code, details)
	}
}

func (v *visitor) isExpected(address string, status int) bool {
	u, err := url.Parse(address)
	return err == nil && slices.Contains(v.expected, fmt.Sprintf("%s %d", u.Path, status))
}

func (v *visitor) anyExpected(address string) bool {
	u, err := url.Parse(address)
	return err == nil && slices.ContainsFunc(v.expected, func(each string) bool { return strings.HasPrefix(each, u.Path+" ") })
}

// asked are the requests since the last call, without those of the pages' own files.
func (v *visitor) asked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.requests
	v.requests = nil
	return slices.DeleteFunc(all, func(each string) bool { return strings.HasPrefix(each, "GET /assets/") })
}

// goes opens a path of the console, or a whole URL of it.
func (v *visitor) goes(to string) {
	v.t.Helper()
	if !strings.Contains(to, "://") {
		to = v.base + to
	}
	v.must(chromedp.Do(v.ctx, chromedp.Navigate(to)))
}

// moves does what leads to another page, and waits until that is there.
func (v *visitor) moves(do func()) {
	v.t.Helper()
	// The events are subscribed to before the trigger runs.
	_, err := chromedp.Run(v.ctx, chromedp.WaitEvent(page.LoadEventFired, nil, func(context.Context, *chromedp.Target) (chromedp.Void, error) {
		do()
		return chromedp.Void{}, nil
	}))
	if err != nil {
		v.t.Fatalf("it leads to no other page: %v; here stands:\n%s", err, v.text())
	}
}

// in has what is wrong told as of a test of its own, what the browser says too.
func (v *visitor) in(t *testing.T, do func(*visitor)) {
	t.Helper()
	whole := v.t
	v.t = t
	defer func() { v.t = whole }()
	do(v)
	for _, each := range v.forgets() {
		t.Errorf("the browser says: %s", each)
	}
}

// forgets returns what has gone wrong so far, and begins anew.
func (v *visitor) forgets() []string {
	v.t.Helper()
	all := v.troubles()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.trouble = nil
	return all
}

// evaluates runs an expression in the page.
func evaluates[T any](v *visitor, expression string) T {
	v.t.Helper()
	value, err := chromedp.Run(v.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		v.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// at is where the visitor is: path and query.
func (v *visitor) at() string {
	v.t.Helper()
	return evaluates[string](v, `location.pathname + location.search`)
}

// text is what can be read on the page.
func (v *visitor) text() string {
	v.t.Helper()
	return evaluates[string](v, `document.body.innerText`)
}

// waits until an expression is true in the page, looking whenever the page changes.
// A page without scripts does not change; then it must be true at once.
func (v *visitor) waits(what, expression string) {
	v.t.Helper()
	if v.is.noScript {
		if !evaluates[bool](v, expression) {
			v.t.Fatalf("%s: no; %s says:\n%s", what, v.at(), v.text())
		}
		return
	}
	const watch = `new Promise((resolve) => {
		const is = () => { try { return %s } catch { return false } };
		const watcher = new MutationObserver(() => { if (is()) { watcher.disconnect(); resolve(true) } });
		watcher.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
		if (is()) { watcher.disconnect(); resolve(true) }
	})`
	limited, stop := context.WithTimeout(v.ctx, patience)
	defer stop()
	for {
		_, err := chromedp.Run(limited, chromedp.Evaluate[bool](fmt.Sprintf(watch, expression), chromedp.EvalAwaitPromise))
		switch {
		case err == nil:
			return
		case limited.Err() != nil:
			v.t.Fatalf("%s: in vain; %s says:\n%s", what, v.at(), v.text())
		case !strings.Contains(err.Error(), "navigated") && !strings.Contains(err.Error(), "destroyed") && !strings.Contains(err.Error(), "collected"):
			v.t.Fatalf("%s: %v", what, err)
		}
	}
}

// sees waits until all of the texts stand on the page.
func (v *visitor) sees(texts ...string) {
	v.t.Helper()
	for _, text := range texts {
		quoted, _ := json.Marshal(text)
		v.waits("see "+text, fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
	}
}

// misses fails when one of the texts stands on the page.
func (v *visitor) misses(texts ...string) {
	v.t.Helper()
	is := v.text()
	for _, text := range texts {
		if strings.Contains(is, text) {
			v.t.Errorf("%s says %q:\n%s", v.at(), text, is)
		}
	}
}

// on does something with the first element of a role with a name. A page that follows
// what changes may have another one in its place by then: it is looked for again.
func (v *visitor) on(role, name string, do func(cdp.BackendNodeID) error) {
	v.t.Helper()
	for {
		err := do(v.element(role, name))
		if !isGone(err) {
			v.must(err)
			return
		}
	}
}

// isGone reports whether an error says that a node is there no more.
func isGone(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Could not find node")
}

// finds are the elements of a role with a name, as a screen reader has them.
func (v *visitor) finds(role, name string) []*accessibility.Node {
	v.t.Helper()
	var found accessibility.QueryAXTreeResult
	for {
		document, err := chromedp.Call(v.ctx, dom.GetDocument, dom.GetDocumentParams{})
		v.must(err)
		found, err = chromedp.Call(v.ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{NodeID: document.Root.NodeID, Role: role, AccessibleName: name})
		if !isGone(err) {
			v.must(err)
			break
		}
	}
	return slices.DeleteFunc(found.Nodes, func(n *accessibility.Node) bool { return n.Ignored })
}

// element is the first one of a role with a name.
func (v *visitor) element(role, name string) cdp.BackendNodeID {
	v.t.Helper()
	found := v.finds(role, name)
	if len(found) == 0 {
		v.t.Fatalf("%s has no %s %q; it has %q, and says:\n%s", v.at(), role, name, v.names(role), v.text())
	}
	return found[0].BackendDOMNodeID
}

// names are those of all elements of a role.
func (v *visitor) names(role string) []string {
	v.t.Helper()
	var all []string
	for _, n := range v.finds(role, "") {
		var name string
		if n.Name != nil {
			_ = json.Unmarshal(n.Name.Value, &name)
		}
		all = append(all, name)
	}
	return all
}

// named is the name of the first element of a role whose name matches.
func (v *visitor) named(role, pattern string) string {
	v.t.Helper()
	re := regexp.MustCompile(pattern)
	all := v.names(role)
	for _, name := range all {
		if re.MatchString(name) {
			return name
		}
	}
	v.t.Fatalf("%s has no %s that matches %q; it has %q, and says:\n%s", v.at(), role, pattern, all, v.text())
	return ""
}

// follows a link, or presses a button, that leads to another page.
func (v *visitor) follows(role, name string) {
	v.t.Helper()
	v.moves(func() { v.clicks(role, name) })
}

// clicks on an element with the mouse, where it is.
func (v *visitor) clicks(role, name string) {
	v.t.Helper()
	var quads dom.GetContentQuadsResult
	v.on(role, name, func(node cdp.BackendNodeID) (err error) {
		if err = call(v.ctx, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: node}); err == nil {
			quads, err = chromedp.Call(v.ctx, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: node})
		}
		return err
	})
	if len(quads.Quads) == 0 {
		v.t.Fatalf("%s %q cannot be clicked: it is nowhere", role, name)
	}
	var x, y float64
	for i, each := range quads.Quads[0] {
		if i%2 == 0 {
			x += each / 4
		} else {
			y += each / 4
		}
	}
	v.must(chromedp.Do(v.ctx, chromedp.MouseClickXY(x, y)))
}

// types puts text into a field, in place of what stands there.
func (v *visitor) types(role, name, text string) {
	v.t.Helper()
	v.on(role, name, func(node cdp.BackendNodeID) error {
		return call(v.ctx, dom.Focus, dom.FocusParams{BackendNodeID: node})
	})
	evaluates[bool](v, `(document.activeElement.select?.(), true)`)
	v.must(call(v.ctx, input.InsertText, input.InsertTextParams{Text: text}))
}

// presses keys, one after the other, as a keyboard does: a page that takes a key for
// itself keeps its character out of the field. chromedp.KeyEvent sends the character
// apart from the key, and a field gets it all the same.
func (v *visitor) presses(keys string) {
	v.t.Helper()
	for _, key := range keys {
		events := kb.Encode(key)
		down, up := events[0], events[len(events)-1]
		if len(events) == 3 {
			down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
		}
		v.must(call(v.ctx, input.DispatchKeyEvent, *down))
		v.must(call(v.ctx, input.DispatchKeyEvent, *up))
	}
}

// shoots takes a screenshot of the whole page into CLOSEORDER_SCREENSHOTS.
func (v *visitor) shoots(name string) {
	v.t.Helper()
	shot, err := chromedp.Call(v.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: new(true), OptimizeForSpeed: new(true)})
	v.must(err)
	folder := cmp.Or(os.Getenv("CLOSEORDER_SCREENSHOTS"), "../../bin/screenshots")
	v.must(os.MkdirAll(folder, 0o755))
	v.must(os.WriteFile(filepath.Join(folder, name+".png"), shot.Data, 0o644))
}
