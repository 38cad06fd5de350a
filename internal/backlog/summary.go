package backlog

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Pile is what is open of one merchant for one reason. As JSON its names are
// stable.
type Pile struct {
	// Code is why it waits, empty for requests that no worker has put off.
	Code string `json:"code,omitempty"`
	// MchID is empty where it cannot be read.
	MchID string `json:"mch_id,omitempty"`
	Count int64  `json:"count"`
	// Oldest is the timestamp of the oldest request.
	Oldest time.Time `json:"oldest,omitzero"`
	// DueFirst and DueLast are when the first and the last of those that wait may
	// be served again.
	DueFirst time.Time `json:"due_first,omitzero"`
	DueLast  time.Time `json:"due_last,omitzero"`
}

// Add counts n requests of which the oldest has the timestamp requested, and that
// are due at a time, zero for none.
func (p *Pile) Add(n int64, requested, due time.Time) { p.add(n, requested, due, due) }

func (p *Pile) add(n int64, requested, first, last time.Time) {
	p.Count += n
	if !requested.IsZero() && (p.Oldest.IsZero() || requested.Before(p.Oldest)) {
		p.Oldest = requested.UTC()
	}
	if !first.IsZero() && (p.DueFirst.IsZero() || first.Before(p.DueFirst)) {
		p.DueFirst = first.UTC()
	}
	if last.After(p.DueLast) {
		p.DueLast = last.UTC()
	}
}

// mostPiles is how many piles are told apart while counting: memory must not grow
// with what producers write for an mch_id.
const mostPiles = 10_000

// Summary counts what is open by code and merchant. The zero value is empty. It
// is not safe for concurrent use.
type Summary struct {
	piles map[pileKey]*Pile
	rest  Pile // beyond mostPiles
	all   Pile
}

type pileKey struct{ code, mchID string }

// Add counts a request.
func (s *Summary) Add(code, mchID string, requested, due time.Time) {
	s.all.Add(1, requested, due)
	p := s.piles[pileKey{code, mchID}]
	switch {
	case p != nil:
	case len(s.piles) >= mostPiles:
		p = &s.rest
	default:
		if s.piles == nil {
			s.piles = map[pileKey]*Pile{}
		}
		key := pileKey{strings.Clone(code), strings.Clone(mchID)}
		p = &Pile{Code: key.code, MchID: key.mchID}
		s.piles[key] = p
	}
	p.Add(1, requested, due)
}

// All is all that was counted.
func (s *Summary) All() Pile { return s.all }

// Piles returns the largest piles, at most so many, 0 for all that are told apart,
// and what is in none of them; Count is 0 where that is nothing.
func (s *Summary) Piles(most int) (piles []Pile, rest Pile) {
	rest = s.rest
	piles = make([]Pile, 0, len(s.piles))
	for _, p := range s.piles {
		piles = append(piles, *p)
	}
	slices.SortFunc(piles, func(a, b Pile) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.Oldest.Compare(b.Oldest), strings.Compare(a.Code, b.Code), strings.Compare(a.MchID, b.MchID))
	})
	if most > 0 && len(piles) > most {
		for _, p := range piles[most:] {
			rest.add(p.Count, p.Oldest, p.DueFirst, p.DueLast)
		}
		piles = piles[:most]
	}
	return piles, rest
}
