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
	mu    sync.Mutex
	// said is what chromedp has to say of the protocol.
	said []string
}

// startBrowser starts it, for as long as the test takes. Without one the test is
// skipped, which is a failure with CI=true.
func startBrowser(t *testing.T) *aBrowser {
	t.Helper()
	file, err := chromium()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(file),
		chromedp.UserDataDir(t.TempDir()),
		// Nothing but this machine can be reached, whatever the browser or a page wants.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("mute-audio", true),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // it refuses to have one as root
	}
	b := &aBrowser{}
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, fmt.Sprintf(format, args...))
	}
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx, chromedp.WithLogf(note), chromedp.WithErrorf(note))
	t.Cleanup(func() {
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		if t.Failed() && len(b.said) > 0 {
			t.Logf("chromedp said:\n%s", strings.Join(b.said, "\n"))
		}
	})
	b.ctx = ctx
	version, err := chromedp.CallBrowser(ctx, browser.GetVersion, cdp.Empty{})
	if err != nil {
		t.Fatalf("%s does not start: %v", file, err)
	}
	b.agent = version.UserAgent
	t.Logf("%s, %s", file, version.Product)
	return b
}
