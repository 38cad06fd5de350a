package browsertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe-core is fetched by npm, which knows the user's registry and proxy, once for a
// machine. The sum is that of the package as npm's registry tells it (dist.integrity).
const (
	axeVersion = "4.14.1"
	axeSHA512  = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)

// axe is the script.
var axe = sync.OnceValues(func() (string, error) {
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("where to keep axe-core: %w", err)
	}
	return axeFrom(filepath.Join(caches, "closeorder"), npmPack)
})

// axeFrom takes the script out of the package in a folder, which fetch puts there
// where it is missing. What is not the package that is wanted is an error.
func axeFrom(folder string, fetch func(into string) error) (string, error) {
	file := filepath.Join(folder, "axe-core-"+axeVersion+".tgz")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return "", err
		}
		// Two may do so at one time: each puts a whole file there.
		half, err := os.MkdirTemp(folder, "fetching-")
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(half)
		if err := fetch(half); err != nil {
			return "", fmt.Errorf("axe-core %s is not in %s, and cannot be fetched: %w; without a network put the file of `npm pack axe-core@%s` there", axeVersion, file, err, axeVersion)
		}
		if err := os.Rename(filepath.Join(half, filepath.Base(file)), file); err != nil {
			return "", err
		}
	}
	pack, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if sum := sha512.Sum512(pack); base64.StdEncoding.EncodeToString(sum[:]) != axeSHA512 {
		return "", fmt.Errorf("%s is not axe-core %s: its SHA-512 is %x; remove it, and it is fetched again", file, axeVersion, sum)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(pack))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	for files := tar.NewReader(unpacked); ; {
		head, err := files.Next()
		if err != nil {
			return "", fmt.Errorf("%s has no package/axe.min.js: %w", file, err)
		}
		if head.Name == "package/axe.min.js" {
			script, err := io.ReadAll(files)
			return string(script), err
		}
	}
}

func npmPack(into string) error {
	cmd := exec.Command("npm", "pack", "--silent", "axe-core@"+axeVersion, "--pack-destination", into)
	cmd.Dir = into
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack: %w\n%s", err, out)
	}
	return nil
}

func TestAxeIsTheOneThatIsWanted(t *testing.T) {
	other := func(into string) error {
		return os.WriteFile(filepath.Join(into, "axe-core-"+axeVersion+".tgz"), []byte("another"), 0o600)
	}
	none := func(string) error { return errors.New("no network") }
	for name, c := range map[string]struct {
		fetch func(string) error
		want  string
	}{
		"another package is refused":           {other, "is not axe-core " + axeVersion},
		"without a network it says what to do": {none, "npm pack axe-core@" + axeVersion},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := axeFrom(t.TempDir(), c.fetch)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("says %v, and not %q", err, c.want)
			}
		})
	}
}

// violation is what axe-core finds.
type violation struct {
	ID, Help string
	Nodes    []struct {
		Target  []any
		HTML    string
		Summary string `json:"failureSummary"`
	}
}

func (f violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", f.ID, f.Help)
	for _, n := range f.Nodes {
		fmt.Fprintf(&b, "\n    %v %s\n      %s", n.Target, n.HTML, strings.ReplaceAll(n.Summary, "\n", "\n      "))
	}
	return b.String()
}

// What axe-core looks at. Rules of colours alone are enough where nothing else has
// changed.
const (
	everyRule = `{ type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }`
	colours   = `{ type: "rule", values: ["color-contrast", "link-in-text-block"] }`
)

// violations has axe-core look at the page, which may be without scripts of its own:
// the tools of the browser run it.
func (v *visitor) violations(rules string) []violation {
	v.t.Helper()
	if !evaluates[bool](v, `"axe" in window`) {
		script, err := axe()
		v.must(err)
		v.must(chromedp.Do(v.ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			return chromedp.Evaluate[chromedp.Void](script+"; undefined")(ctx, t)
		}))
	}
	found, err := chromedp.Run(v.ctx, chromedp.Evaluate[[]violation](
		`axe.run(document, { runOnly: `+rules+`, resultTypes: ["violations"] }).then((r) => r.violations.map((x) => ({
			id: x.id, help: x.help, nodes: x.nodes.map((n) => ({ target: n.target, html: n.html, failureSummary: n.failureSummary })),
		})))`, chromedp.EvalAwaitPromise))
	v.must(err)
	return found
}

// unfit says what axe-core finds on the page.
func (v *visitor) unfit(rules string) (found []string) {
	v.t.Helper()
	how := v.is.language
	if v.is.dark {
		how += ", dark"
	}
	for _, each := range v.violations(rules) {
		found = append(found, fmt.Sprintf("%s (%s): %s", v.at(), how, each))
	}
	return found
}

// tooWide says what of the page makes it move to the side. Tables that move by
// themselves do not.
func (v *visitor) tooWide() []string {
	v.t.Helper()
	wide := evaluates[int64](v, `document.documentElement.scrollWidth`)
	if wide <= v.is.width {
		return nil
	}
	widest := evaluates[[]string](v, `[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest(".wide"))
		.slice(0, 5).map((e) => e.outerHTML.slice(0, 150) + " reaches to " + Math.round(e.getBoundingClientRect().right))`)
	return []string{fmt.Sprintf("%s is %d wide in a window of %d:\n%s", v.at(), wide, v.is.width, strings.Join(widest, "\n"))}
}

// none fails for each finding.
func (v *visitor) none(found []string) {
	v.t.Helper()
	for _, each := range found {
		v.t.Error(each)
	}
}
