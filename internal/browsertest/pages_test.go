package browsertest

import (
	"maps"
	"slices"
	"testing"
)

// everyPage goes to all pages: in English by day on a wide screen, and by the Tab key;
// in Chinese by night on a telephone. Lists are short here: what holds of
// one row holds of forty, and costs a fortieth.
func everyPage(t *testing.T, b *aBrowser, s *stage, english *visitor, seen *places) {
	pages := map[string]string{
		"now": "/", "search": "/search?q=T1", "order": "/order?out_trade_no=T1", "replayed-order": "/order?out_trade_no=Y07",
		"dead-letters": "/dead-letters?out_trade_no=Z1", "dead-letter": seen.letter, "replays": "/replays", "plan": seen.plan,
		"audits": "/audits", "audit": seen.audit, "log": "/log", "no-page": "/nothing",
	}
	chinese := b.visits(t, s.console, likes{language: "zh-CN", dark: true, width: 360})
	for _, v := range []*visitor{english, chinese} {
		v.expects("/nothing", 404)
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		t.Run(name, func(t *testing.T) {
			if pages[name] == "" {
				t.Fatal("no story came there")
			}
			english.in(t, func(v *visitor) {
				v.goes(pages[name])
				v.none(v.unfit(everyRule))
				v.none(v.astray())
				v.likesDark(true)
				v.none(v.unfit(colours))
				v.likesDark(false)
			})
			chinese.in(t, func(v *visitor) {
				v.goes(pages[name])
				v.none(v.tooWide())
				v.none(v.unfit(everyRule))
				v.shoots("6-" + name + "-zh")
			})
		})
	}
	t.Run("a replay that is done", func(t *testing.T) {
		english.in(t, func(v *visitor) {
			v.goes(seen.replay)
			v.none(v.unfit(everyRule))
		})
		chinese.in(t, func(v *visitor) {
			v.goes(seen.replay)
			v.none(v.tooWide())
			v.none(v.unfit(everyRule))
			v.shoots("6-replay-zh")
		})
	})
	t.Run("the worker's own page", func(t *testing.T) {
		b.visits(t, s.admin, likes{}).in(t, func(v *visitor) {
			v.goes("/statusz?refresh=0")
			v.none(v.unfit(everyRule))
			v.likesDark(true)
			v.none(v.unfit(colours))
			v.none(v.astray())
			v.widens(360)
			v.none(v.tooWide())
		})
	})
}
