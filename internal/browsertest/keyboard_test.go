package browsertest

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp/kb"
)

// stop is where the focus has been.
type stop struct {
	What    string
	In      string // header, main or footer
	Before  bool   // it stands before the one before it
	Visible bool   // it can be seen
	Marked  bool   // that the focus is here can be seen
}

// tabs goes through the page by the Tab key alone, and fails where the focus cannot be
// seen, goes back, or does not come to the end.
func (v *visitor) tabs() []stop {
	v.t.Helper()
	many := evaluates[int](v, `(() => {
		window.stops = [];
		let last = null;
		document.addEventListener("focusin", (e) => {
			const at = e.target, box = at.getBoundingClientRect(), style = getComputedStyle(at);
			window.stops.push({
				What: at.tagName.toLowerCase() + " " + (at.id || at.name || at.textContent.trim().slice(0, 40)),
				In: at.closest("body > header, main, body > footer")?.tagName.toLowerCase() ?? "",
				Before: last !== null && (last.compareDocumentPosition(at) & Node.DOCUMENT_POSITION_PRECEDING) !== 0,
				Visible: box.width > 0 && box.height > 0 && box.right > 0 && box.left < innerWidth,
				Marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
			});
			last = at;
		});
		document.activeElement?.blur();
		getSelection().removeAllRanges();
		return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
			.filter((e) => !e.disabled && e.checkVisibility()).length;
	})()`)
	v.presses(strings.Repeat(kb.Tab, many))
	all := evaluates[[]stop](v, `window.stops`)
	where := v.at()
	if len(all) < many {
		v.t.Errorf("%s: %d elements take the focus, Tab came to %d: %v", where, many, len(all), all)
	}
	for i, s := range all {
		switch {
		case s.Before:
			v.t.Errorf("%s: the focus goes back to %s", where, s.What)
		case !s.Visible:
			v.t.Errorf("%s: %s has the focus and is not to be seen", where, s.What)
		case !s.Marked:
			v.t.Errorf("%s: nothing shows that %s has the focus", where, s.What)
		}
		if i == 0 && !strings.Contains(s.What, "content") && !strings.Contains(s.What, "正文") && !strings.Contains(s.What, "内容") {
			v.t.Errorf("%s: the first stop is %s, and not the way to the content", where, s.What)
		}
	}
	return all
}

func (s stop) String() string { return fmt.Sprintf("%s (%s)", s.What, s.In) }
