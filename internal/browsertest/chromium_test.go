package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// chromium finds the browser: CLOSEORDER_BROWSER, or one of the names that it has.
func chromium() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if own := os.Getenv("CLOSEORDER_BROWSER"); own != "" {
		names = []string{own}
	}
	for _, name := range names {
		if file, err := exec.LookPath(name); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("no browser (%s): install Debian's chromium and fonts-noto-cjk, or name one in CLOSEORDER_BROWSER", strings.Join(names, ", "))
}

// aBrowser is one browser for all tests.
type aBrowser struct {
	ctx   context.Context
	agent string // as it calls itself
	name  string
	mu    sync.Mutex
	// said is what chromedp has to say of the protocol.
	said []string
}

// stopBrowser ends the one that was started, for TestMain.
var stopBrowser = func() {}

func TestMain(m *testing.M) {
	code := m.Run()
	stopBrowser()
	os.Exit(code)
}

// browserFor is the browser. Without one the test is skipped, which is a failure with
// CI=true.
func browserFor(t *testing.T) *aBrowser {
	t.Helper()
	if _, err := chromium(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	b, err := startBrowser()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(b.name)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if t.Failed() && len(b.said) > 0 {
			t.Logf("chromedp said:\n%s", strings.Join(b.said, "\n"))
		}
		b.said = nil
	})
	return b
}

var startBrowser = sync.OnceValues(func() (*aBrowser, error) {
	file, err := chromium()
	if err != nil {
		return nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(file),
		// It loads the console's pages and nothing else, and few machines of CI let it
		// have a sandbox: not as root, not without user namespaces.
		chromedp.NoSandbox,
		// Nothing but this machine can be reached, whatever the browser or a page wants.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("mute-audio", true),
	)
	b := &aBrowser{}
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, leave := chromedp.NewContext(allocator, chromedp.WithLogf(note), chromedp.WithErrorf(note))
	stopBrowser = func() { leave(); stop() }
	b.ctx = ctx
	version, err := chromedp.CallBrowser(ctx, browser.GetVersion, cdp.Empty{})
	if err != nil {
		return nil, fmt.Errorf("%s does not start: %w", file, err)
	}
	b.agent, b.name = version.UserAgent, file+", "+version.Product
	return b, nil
})
