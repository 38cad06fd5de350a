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

// astray goes through the page by the Tab key alone, and says where the focus cannot be
// seen, goes back, or does not come to the end.
func (v *visitor) astray() (found []string) {
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
		// From the beginning, wherever the page puts the focus by itself.
		document.body.tabIndex = -1;
		document.body.focus();
		document.body.removeAttribute("tabindex");
		window.stops = [];
		last = null;
		return [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
			.filter((e) => !e.disabled && e.checkVisibility()).length;
	})()`)
	v.presses(strings.Repeat(kb.Tab, many))
	all := evaluates[[]stop](v, `window.stops`)
	where := v.at()
	wrong := func(format string, args ...any) { found = append(found, where+": "+fmt.Sprintf(format, args...)) }
	if len(all) < many {
		wrong("%d elements take the focus, Tab came to %d: %v", many, len(all), all)
	}
	for _, s := range all {
		switch {
		case s.Before:
			wrong("the focus goes back to %v", s)
		case !s.Visible:
			wrong("%v has the focus and is not to be seen", s)
		case !s.Marked:
			wrong("nothing shows that %v has the focus", s)
		}
	}
	return found
}

func (s stop) String() string { return fmt.Sprintf("%s (%s)", s.What, s.In) }
