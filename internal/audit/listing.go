package audit

import (
	"cmp"
	"slices"
)

// listing keeps the findings of one kind, the first so many as they stand in
// the requests topic, and counts all: what is listed is the same each time,
// whatever order the partitions were read in.
type listing struct {
	most  int // 0 for all
	count int64
	kept  []Finding
}

func (l *listing) add(f Finding) {
	l.count++
	l.kept = append(l.kept, f)
	if l.most > 0 && len(l.kept) >= 2*l.most {
		l.cut()
	}
}

func (l *listing) cut() {
	slices.SortFunc(l.kept, compareFindings)
	if l.most > 0 && len(l.kept) > l.most {
		l.kept = slices.Delete(l.kept, l.most, len(l.kept))
	}
}

func compareFindings(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Detail, b.Detail))
}

// list puts what was found into the report: by kind, then as it stands in the
// topic.
func (a *auditor) list() {
	for _, kind := range kinds {
		l := a.listing(kind)
		l.cut()
		a.report.Findings = append(a.report.Findings, l.kept...)
		a.report.FindingsLeftOut += l.count - int64(len(l.kept))
	}
}

func (a *auditor) listing(kind Kind) *listing {
	if a.listings[kind] == nil {
		a.listings[kind] = &listing{most: a.options.Limit}
	}
	return a.listings[kind]
}

func (a *auditor) found(f Finding) { a.listing(f.Kind).add(f) }
