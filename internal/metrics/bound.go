package metrics

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// bound lets names become labels, up to a number of them, those that come first;
// what is let in stays. It is safe for concurrent use, and allocates nothing for
// a name that it has seen, nor for one that comes too late.
type bound struct {
	most int
	fits func(name string) bool // which names may be let in

	mu    sync.RWMutex
	count int               // of those that came by themselves
	kept  map[string]string // names that are let in, to the copy that is kept
}

// of is the label for a name: the name itself, or other.
func (b *bound) of(name string) string {
	b.mu.RLock()
	kept, is := b.kept[name]
	full := b.count >= b.most
	b.mu.RUnlock()
	switch {
	case is:
		return kept
	case full || !b.fits(name):
		return other
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if kept, is := b.kept[name]; is {
		return kept
	}
	if b.count >= b.most {
		return other
	}
	b.count++
	return b.add(name)
}

// admit lets names in that do not count.
func (b *bound) admit(names ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		b.add(name)
	}
}

// add lets a name in, as a copy: what it is a part of can be large. b.mu is held.
func (b *bound) add(name string) string {
	if b.kept == nil {
		b.kept = make(map[string]string)
	}
	kept := strings.Clone(name)
	b.kept[kept] = kept
	return kept
}

// children are the metrics behind labels. What is there is found without an
// allocation. Keys must be bounded. It is safe for concurrent use.
type children[K comparable, V any] struct {
	make func(K) V

	mu   sync.RWMutex
	made map[K]V
}

func (c *children[K, V]) of(key K) V {
	c.mu.RLock()
	child, is := c.made[key]
	c.mu.RUnlock()
	if is {
		return child
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if child, is := c.made[key]; is {
		return child
	}
	if c.made == nil {
		c.made = make(map[K]V)
	}
	child = c.make(key)
	c.made[key] = child
	return child
}

// Which names may be labels. What others have written may be anything; a label
// must be UTF-8, and nothing of it may be a secret.

// isText: of our own configuration or of Kafka's protocol.
func isText(s string) bool { return s != "" && len(s) <= 300 && utf8.ValidString(s) }

// isMchID: short, of letters and digits.
func isMchID(s string) bool { return len(s) <= 32 && isWord(s) }

// isCode: as codes are spelt, and nothing that may be a signature or a key.
func isCode(s string) bool { return len(s) <= 48 && isWord(s) && !hasHexRun(s, 16) }

func isWord(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// hasHexRun reports whether there are so many hex digits in a row.
func hasHexRun(s string, n int) bool {
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F', '0' <= c && c <= '9':
			if run++; run >= n {
				return true
			}
		default:
			run = 0
		}
	}
	return false
}
